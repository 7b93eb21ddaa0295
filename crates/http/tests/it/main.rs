//! The whole door over memory stores: requests in, answers out.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod access;
mod adoption;
mod auth;
mod branches;
mod changes;
mod dumps;
mod history;
mod jobs;
mod limits;
mod matrix;
mod millpond;
mod objects;
mod oidc;
mod outside;
mod people;
mod pulls;
mod repositories;
mod rules;
mod server;
mod sign_in;
mod uploads;
mod validation;
