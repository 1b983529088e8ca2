// The other side of the scenarios: an app on an origin of its own that browsers are sent back to, and a site with a frame.

import { createServer } from "node:http";

export async function startClient() {
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://client");
    const page = (body) => {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
      response.end(`<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Client</title>${body}`);
    };
    if (url.pathname === "/framing") {
      page(`<h1>Win a prize</h1><iframe src="${url.searchParams.get("url").replaceAll("&", "&amp;")}" width="600" height="600"></iframe>`);
    } else if (request.method === "POST") {
      let text = "";
      request.on("data", (chunk) => (text += chunk));
      request.on("end", () => page(`<h1>Welcome back</h1><pre>${[...new URLSearchParams(text).keys()].join(" ")}</pre>`));
    } else {
      page("<h1>Welcome back</h1>");
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  return { origin: `http://127.0.0.1:${port}`, elsewhere: `http://localhost:${port}` };
}
