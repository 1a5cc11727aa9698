// Talks to a running sandbox's gateway from outside, as the worker does, and prints what it got as one JSON line.
// usage: node talk.mjs <ws url> <gateway token> <scopes, comma separated> [method] [params as JSON] [event to wait for until its state is final]
import { setTimeout as sleep } from "node:timers/promises";
import { Gateway } from "./gateway.mjs";
import { device } from "./device.mjs";
