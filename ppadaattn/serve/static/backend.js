// Who paints. The static page, which needs no server, has another line here.
export * from "./server.js";
