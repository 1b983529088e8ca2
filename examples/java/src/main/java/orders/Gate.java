package orders;

import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpExchange;
import java.io.IOException;
import java.util.List;
import scopegate.v1.TokenServiceOuterClass.CheckScopesRequest;
import scopegate.v1.TokenServiceOuterClass.Decision;
import scopegate.v1.TokenServiceOuterClass.IntrospectResponse;
import scopegate.v1.TokenServiceOuterClass.Proof;

/** Lets a request pass if its access token has all of these scopes. Copy it into your service, with Sidecar.java. */
final class Gate extends Filter {
  private final Sidecar sidecar;
  private final List<String> scopes;

  Gate(Sidecar sidecar, String... scopes) {
    this.sidecar = sidecar;
    this.scopes = List.of(scopes);
  }

  @Override public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
    List<String> presented = exchange.getRequestHeaders().getOrDefault("Authorization", List.of());
    String[] parts = String.join("", presented).split(" ", 2);
    boolean bound = parts[0].equalsIgnoreCase("DPoP");
    if (presented.size() > 1) { // RFC 6750 section 2: one token, in one way
      refuse(exchange, 400, "Bearer error=\"invalid_request\"");
      return;
    } else if (parts.length < 2 || parts[1].isEmpty() || !bound && !parts[0].equalsIgnoreCase("Bearer")) {
      refuse(exchange, 401, "Bearer scope=\"" + String.join(" ", scopes) + "\"");
      return;
    }
    var question = CheckScopesRequest.newBuilder().setToken(parts[1]).addAllRequiredScopes(scopes).setIncludeIntrospection(true);
    if (bound) { // RFC 9449
      question.setProof(Proof.newBuilder().addAllDpop(exchange.getRequestHeaders().getOrDefault("DPoP", List.of()))
          .setHttpMethod(exchange.getRequestMethod()).setHttpUri(sidecar.publicUrl + exchange.getRequestURI().getRawPath()));
    }
    var answer = sidecar.check(question.build());
    if (answer.isEmpty()) { // not 401: the token may be good
      exchange.getResponseHeaders().set("Retry-After", "1");
      refuse(exchange, 503, "");
    } else if (answer.get().getDecision() != Decision.DECISION_ALLOWED) {
      refuse(exchange, answer.get().getHttpStatus(), answer.get().getWwwAuthenticate());
    } else {
      exchange.setAttribute(IntrospectResponse.class.getName(), answer.get().getIntrospection()); // whose token it is
      chain.doFilter(exchange);
    }
  }

  @Override public String description() {
    return "scopegate: " + scopes;
  }

  private static void refuse(HttpExchange exchange, int status, String challenge) throws IOException {
    exchange.getResponseHeaders().set("Cache-Control", "no-store");
    if (!challenge.isEmpty()) exchange.getResponseHeaders().set("WWW-Authenticate", challenge);
    exchange.sendResponseHeaders(status, -1);
    exchange.close();
  }
}
