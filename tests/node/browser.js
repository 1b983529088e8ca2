// A small browser: cookies, redirects and forms, as much of them as the pages of scopegate need.

const ENTITIES = { "&amp;": "&", "&quot;": '"', "&#x27;": "'", "&#x2f;": "/", "&lt;": "<", "&gt;": ">" };

export class Browser {
  cookies = new Map();

  /** Stays at one server: where a redirect leads elsewhere is told, and not fetched. */
  constructor(server) {
    this.origin = new URL(server).origin;
  }

  async open(url) {
    return this.#arrive(url, await this.#send(url, {}));
  }

  /** Sends the form of a page that goes to `path`, with these fields over its own. */
  async submit(page, path, fields) {
    const form = formOf(page, path);
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    const url = new URL(path, page.url).href;
    // What browsers add to a form of the page's own.
    const headers = { origin: new URL(page.url).origin, "sec-fetch-site": "same-origin" };
    return this.#arrive(url, await this.#send(url, { method: "POST", body: form, headers }));
  }

  async #send(url, options) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      this.cookies.set(name, value);
    }
    return response;
  }

  async #arrive(url, response) {
    for (let redirects = 0; redirects < 10; redirects++) {
      // The only redirect that always turns a POST into a GET.
      if (response.status !== 303) return { url, status: response.status, text: await response.text() };
      url = new URL(response.headers.get("location"), url).href;
      if (new URL(url).origin !== this.origin) return { url, status: 303, text: "" };
      response = await this.#send(url, {});
    }
    throw new Error(`too many redirects, the last to ${url}`);
  }
}

export function hasForm(page, path) {
  return find(page, path) !== null;
}

/** The fields of the form of a page that goes to `path`, as they would be sent. */
export function formOf(page, path) {
  const form = find(page, path);
  if (!form) throw new Error(`no form for ${path} on ${page.url} (${page.status}): ${page.text}`);
  const fields = new URLSearchParams();
  for (const [input] of form[1].matchAll(/<input [^>]*>/g)) {
    const attribute = (name) => decode(new RegExp(` ${name}="([^"]*)"`).exec(input)?.[1] ?? "");
    if (attribute("type") === "checkbox" && !input.includes(" checked")) continue;
    if (attribute("name")) fields.append(attribute("name"), attribute("value"));
  }
  return fields;
}

function find(page, path) {
  return new RegExp(`<form[^>]* action="${path}"[^>]*>(.*?)</form>`, "s").exec(page.text.replaceAll("&#x2f;", "/"));
}

function decode(text) {
  return text.replace(/&(amp|quot|#x27|#x2f|lt|gt);/g, (entity) => ENTITIES[entity]);
}
