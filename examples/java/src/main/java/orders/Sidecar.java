package orders;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import scopegate.v1.TokenServiceGrpc;
import scopegate.v1.TokenServiceOuterClass.CheckScopesRequest;
import scopegate.v1.TokenServiceOuterClass.CheckScopesResponse;

/** A connection to a sidecar. Copy it into your service, with Gate.java. */
final class Sidecar {
  /** For all attempts together. */
  private static final int DEADLINE_MS = 250;

  /** UNAVAILABLE means that nobody knows, so it is asked again, within the deadline. */
  private static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
      "name", List.of(Map.of("service", "scopegate.v1.TokenService", "method", "CheckScopes")),
      "retryPolicy", Map.of("maxAttempts", 3.0, "initialBackoff", "0.02s", "maxBackoff", "0.1s", "backoffMultiplier", 2.0,
          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  /** Where clients reach this service, without a path: DPoP proofs name it. */
  final String publicUrl;
  private final ManagedChannel channel;

  /** @param target {@code unix:/run/scopegate/grpc.sock} (on Linux) or {@code 127.0.0.1:50051} */
  Sidecar(String target, String publicUrl) {
    this.channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create())
        .defaultServiceConfig(SERVICE_CONFIG).enableRetry()
        .overrideAuthority("localhost") // that of a Unix socket would be its path, which HTTP/2 servers refuse
        .proxyDetector(address -> null) // the tokens are not for the proxy that leads to the rest of the world
        .keepAliveTime(10, TimeUnit.SECONDS).keepAliveTimeout(1, TimeUnit.SECONDS).keepAliveWithoutCalls(true)
        .build();
    this.publicUrl = publicUrl;
  }

  /** Nothing where nobody knows. */
  Optional<CheckScopesResponse> check(CheckScopesRequest question) {
    try {
      return Optional.of(TokenServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(DEADLINE_MS, TimeUnit.MILLISECONDS).checkScopes(question));
    } catch (StatusRuntimeException unknown) {
      channel.resetConnectBackoff(); // otherwise it stays away for up to two minutes
      return Optional.empty();
    }
  }
}
