//! Rules of the project that no compiler checks: who may use whom, what may come in, what a file may hold.

mod edges;
mod http;
mod repository;
mod sources;
mod spdx;
mod supply;
