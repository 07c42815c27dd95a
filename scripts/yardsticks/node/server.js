// The yardstick on node's `ws`: everyone is told, every ack is counted, and nothing else is done.
//
// Rules: the library's documented ways at its best settings: no compression, no validation of UTF-8 it does not need,
// the native masking it can use. An ack is counted unread. `POST /start` tells everyone its body and says so at once,
// `GET /acked` answers when everyone told has acknowledged; one JSON line says where it listens.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const sockets = new Set();
let awaited = 0;
let waiting = null;

const count = () => {
  awaited -= 1;
  if (awaited === 0 && waiting !== null) {
    waiting.end("acked\n");
    waiting = null;
  }
};

const tell = (frame) => {
  awaited = sockets.size;
  for (const socket of sockets) socket.send(frame, { binary: false });
};

const server = createServer((request, response) => {
  if (request.url === "/acked") {
    if (awaited === 0) response.end("acked\n");
    else waiting = response;
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    tell(Buffer.concat(parts));
    response.end("told\n");
  });
});

const listener = new WebSocketServer({
  server,
  perMessageDeflate: false,
  skipUTF8Validation: true,
  maxPayload: 32 * 1024,
  handleProtocols: () => "notices.v1.json",
});
listener.on("connection", (socket) => {
  sockets.add(socket);
  socket.on("message", count);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => socket.terminate());
});

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  const port = server.address().port;
  console.log(JSON.stringify({ ready: true, websocket: `ws://127.0.0.1:${port}/v1/ws`, node: process.version }));
});
