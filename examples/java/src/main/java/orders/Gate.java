package orders;

import com.sun.net.httpserver.Filter;
import com.sun.net.httpserver.HttpExchange;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import scopegate.v1.TokenServiceGrpc;
import scopegate.v1.TokenServiceOuterClass.CheckScopesRequest;
import scopegate.v1.TokenServiceOuterClass.Decision;
import scopegate.v1.TokenServiceOuterClass.IntrospectResponse;
import scopegate.v1.TokenServiceOuterClass.Proof;

/** Lets a request pass if its access token may do what the handler does. Copy it into your service. */
final class Gate {
  private static final int DEADLINE_MS = 250;

  /** UNAVAILABLE means that nobody knows, so it is asked again, within the deadline. */
  private static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
      "name", List.of(Map.of("service", "scopegate.v1.TokenService", "method", "CheckScopes")),
      "retryPolicy", Map.of("maxAttempts", 3.0, "initialBackoff", "0.02s", "maxBackoff", "0.1s", "backoffMultiplier", 2.0,
          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private final ManagedChannel channel;
  private final String publicUrl;

  /**
   * @param target of a sidecar: {@code unix:/run/scopegate/grpc.sock} (on Linux) or {@code 127.0.0.1:50051}
   * @param publicUrl where clients reach this service, without a path: DPoP proofs name it
   */
  Gate(String target, String publicUrl) {
    this.channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create())
        .defaultServiceConfig(SERVICE_CONFIG).enableRetry()
        .overrideAuthority("localhost") // that of a Unix socket would be its path, which HTTP/2 servers refuse
        .proxyDetector(address -> null) // the tokens are not for the proxy that leads to the rest of the world
        .keepAliveTime(10, TimeUnit.SECONDS).keepAliveTimeout(1, TimeUnit.SECONDS).keepAliveWithoutCalls(true)
        .build();
    this.publicUrl = publicUrl;
  }

  /** Whose token a request came with, behind {@link #require}. */
  static IntrospectResponse identity(HttpExchange exchange) {
    return (IntrospectResponse) exchange.getAttribute(IntrospectResponse.class.getName());
  }

  /** Lets pass what has all of these scopes. */
  Filter require(String... scopes) {
    return new Filter() {
      @Override
      public void doFilter(HttpExchange exchange, Chain chain) throws IOException {
        List<String> presented = exchange.getRequestHeaders().getOrDefault("Authorization", List.of());
        if (presented.size() > 1) { // RFC 6750 section 2: one token, in one way
          refuse(exchange, 400, "Bearer error=\"invalid_request\"");
          return;
        }
        String[] parts = String.join("", presented).split(" ", 2);
        boolean bound = parts[0].equalsIgnoreCase("DPoP");
        if (parts.length < 2 || parts[1].isEmpty() || !bound && !parts[0].equalsIgnoreCase("Bearer")) {
          refuse(exchange, 401, "Bearer scope=\"" + String.join(" ", scopes) + "\"");
          return;
        }
        var question = CheckScopesRequest.newBuilder()
            .setToken(parts[1]).addAllRequiredScopes(List.of(scopes)).setIncludeIntrospection(true);
        if (bound) { // RFC 9449
          question.setProof(Proof.newBuilder()
              .addAllDpop(exchange.getRequestHeaders().getOrDefault("DPoP", List.of()))
              .setHttpMethod(exchange.getRequestMethod())
              .setHttpUri(publicUrl + exchange.getRequestURI().getRawPath()));
        }
        try {
          var answer = TokenServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(DEADLINE_MS, TimeUnit.MILLISECONDS).checkScopes(question.build());
          if (answer.getDecision() != Decision.DECISION_ALLOWED) {
            refuse(exchange, answer.getHttpStatus(), answer.getWwwAuthenticate());
            return;
          }
          exchange.setAttribute(IntrospectResponse.class.getName(), answer.getIntrospection());
        } catch (StatusRuntimeException unknown) { // not 401: the token may be good
          channel.resetConnectBackoff(); // otherwise it stays away for up to two minutes
          exchange.getResponseHeaders().set("Retry-After", "1");
          refuse(exchange, 503, "");
          return;
        }
        chain.doFilter(exchange);
      }

      @Override
      public String description() {
        return "scopegate: " + String.join(" ", scopes);
      }
    };
  }

  private static void refuse(HttpExchange exchange, int status, String challenge) throws IOException {
    if (!challenge.isEmpty()) {
      exchange.getResponseHeaders().set("WWW-Authenticate", challenge);
    }
    exchange.getResponseHeaders().set("Cache-Control", "no-store");
    exchange.sendResponseHeaders(status, -1);
    exchange.close();
  }
}
