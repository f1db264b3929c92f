// Who paints: this browser.
export * from "./local.js";
