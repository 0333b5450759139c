//! Real servers, real processes, and a client that knows only NATS and JSON.

mod api;
mod drain;
mod loops;
mod ticket;
