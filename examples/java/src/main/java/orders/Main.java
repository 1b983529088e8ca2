package orders;

import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import scopegate.v1.TokenServiceOuterClass.IntrospectResponse;

/** A small service that is protected by scopegate. */
public final class Main {
  public static void main(String[] arguments) throws IOException {
    String listen = System.getenv().getOrDefault("LISTEN", "127.0.0.1:3000");
    Sidecar sidecar = new Sidecar(
        System.getenv().getOrDefault("SCOPEGATE", "127.0.0.1:50051"),
        System.getenv().getOrDefault("PUBLIC_URL", "http://" + listen));
    Map<String, Filter> routes = Map.of(
        "GET /orders", new Gate(sidecar, "orders:read"),
        "POST /orders", new Gate(sidecar, "orders:read", "orders:write"));

    String[] address = listen.split(":");
    HttpServer server = HttpServer.create(new InetSocketAddress(address[0], Integer.parseInt(address[1])), 0);
    server.setExecutor(Executors.newFixedThreadPool(16));
    server.createContext("/", exchange -> {
      var filter = routes.get(exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath());
      if (filter == null) {
        exchange.sendResponseHeaders(404, -1);
        exchange.close();
        return;
      }
      filter.doFilter(exchange, new Filter.Chain(List.of(), ORDERS));
    });
    server.start();
    System.out.println("listening on " + address[0] + ":" + server.getAddress().getPort());
  }

  private static final HttpHandler ORDERS = exchange -> {
    var identity = (IntrospectResponse) exchange.getAttribute(IntrospectResponse.class.getName());
    byte[] body = ("orders of " + identity.getSub() + "\n").getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  };
}
