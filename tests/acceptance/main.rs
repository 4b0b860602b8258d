//! Vectide as its users meet it: the binary with the shipped configuration and the sample shop, its output and its exit codes.
//! Only what scripts may rely on is used here; nothing inside the crate is called.

mod bad_input;
mod configuration_changes;
mod first_run;
mod interruption;
mod llama_cpp;
mod openai_server;
mod pages;
#[path = "../servers/ports.rs"]
mod ports;
mod shop;
mod staying_in_step;
