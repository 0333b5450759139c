//! What every adapter of a port must do: one suite per port, run against each of its adapters.

#[cfg(test)]
mod embedded;
#[cfg(test)]
mod nats;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod store;
#[cfg(test)]
mod system;
