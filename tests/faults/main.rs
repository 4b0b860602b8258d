//! What can go wrong around Vectide, one test for each: records that cannot be used, files and disks that fail, a process that
//! is killed or told to stop. All through the binary: its configuration, its exit codes, and what it says.

mod callers;
mod crash;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod hang;
mod pipeline;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod power;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod preload;
mod provider;
mod records;
mod rounds;
mod stop;
mod story;
mod surroundings;
mod telling;
