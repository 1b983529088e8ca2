// A small service that is protected by scopegate.

import { createServer } from 'node:http'
import { connect, requireScopes } from './scopegate.js'

const { LISTEN = '127.0.0.1:3000', SCOPEGATE = '127.0.0.1:50051', PUBLIC_URL = `http://${LISTEN}` } = process.env
const tokens = connect(SCOPEGATE)
const routes = {
  'GET /orders': requireScopes(tokens, PUBLIC_URL, 'orders:read'),
  'POST /orders': requireScopes(tokens, PUBLIC_URL, 'orders:read', 'orders:write'),
}

const server = createServer((request, response) => {
  const gate = routes[`${request.method} ${request.url.split('?')[0]}`]
  if (!gate) return response.writeHead(404).end()
  gate(request, response, () => response.end(`orders of ${request.identity.sub}\n`))
})
const [host, port] = LISTEN.split(':')
server.listen(Number(port), host, () => console.log(`listening on ${host}:${server.address().port}`))
