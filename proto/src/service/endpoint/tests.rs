//! The endpoint with devices by hand: what each service grants, and what it refuses.

mod amplification;
mod checkpoint;
mod client;
mod handshake;
mod news;
mod proxy;
mod relay;
mod sessions;
mod world;
