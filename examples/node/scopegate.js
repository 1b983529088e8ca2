// Lets a request pass if its access token may do what the handler does. Copy it into your service; it works as middleware of Express, too.

import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const DEADLINE = 250 // milliseconds
// UNAVAILABLE means that nobody knows, so it is asked again, within the deadline.
const retryPolicy = { maxAttempts: 3, initialBackoff: '0.02s', maxBackoff: '0.1s', backoffMultiplier: 2, retryableStatusCodes: ['UNAVAILABLE'] }
const SERVICE_CONFIG = { methodConfig: [{ name: [{ service: 'scopegate.v1.TokenService', method: 'CheckScopes' }], retryPolicy }] }
// No stubs: the proto is read at the start.
const PROTOS = fileURLToPath(new URL('../../proto', import.meta.url))
const definition = loadSync('scopegate/v1/token_service.proto', { includeDirs: [PROTOS], enums: String, defaults: true })
const { TokenService } = loadPackageDefinition(definition).scopegate.v1

/** A client of the sidecar at `unix:/run/scopegate/grpc.sock` or `127.0.0.1:50051`. It connects when needed, and again within a second. */
export function connect(target) {
  return new TokenService(target, credentials.createInsecure(), {
    'grpc.service_config': JSON.stringify(SERVICE_CONFIG),
    'grpc.enable_http_proxy': 0, // the tokens are not for the proxy that leads to the rest of the world
    'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 1_000, 'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000,
  })
}

// Lets pass what has all of these scopes; `request.identity` is whose token it came with. DPoP proofs name `publicUrl`, the address under
// which clients reach this service, without a path.
export function requireScopes(tokens, publicUrl, ...scopes) {
  return (request, response, next) => {
    const presented = request.headersDistinct.authorization ?? []
    // RFC 6750 section 2: one token, in one way.
    if (presented.length > 1) return refuse(response, 400, 'Bearer error="invalid_request"')
    const [, scheme, token] = /^(Bearer|DPoP) +(\S+)$/i.exec(presented[0] ?? '') ?? []
    if (!token) return refuse(response, 401, `Bearer scope="${scopes.join(' ')}"`)
    const question = { token, requiredScopes: scopes, includeIntrospection: true }
    if (scheme.toLowerCase() === 'dpop') {
      const path = (request.originalUrl ?? request.url).split('?')[0]
      question.proof = { dpop: request.headersDistinct.dpop ?? [], httpMethod: request.method, httpUri: publicUrl + path } // RFC 9449
    }
    tokens.checkScopes(question, { deadline: Date.now() + DEADLINE }, (error, answer) => {
      if (error) return refuse(response.setHeader('Retry-After', '1'), 503) // not 401: the token may be good
      if (answer.decision !== 'DECISION_ALLOWED') return refuse(response, answer.httpStatus, answer.wwwAuthenticate)
      request.identity = answer.introspection
      next()
    })
  }
}

function refuse(response, status, challenge) {
  if (challenge) response.setHeader('WWW-Authenticate', challenge)
  response.setHeader('Cache-Control', 'no-store')
  response.writeHead(status).end()
}
