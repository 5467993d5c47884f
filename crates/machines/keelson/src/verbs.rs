//! One module per verb.

mod boot_progress;
pub mod ca;
pub mod channel;
pub mod config_drive;
pub mod console;
pub mod doctor;
pub mod down;
pub mod fake_machines;
pub mod install;
pub mod internal;
pub mod keys;
pub mod manual;
mod not_ready;
pub mod power;
pub mod publish;
pub mod release;
pub mod serve_netboot;
pub mod serve_updates;
pub mod ssh;
pub mod status;
pub mod test;
pub mod up;
pub mod vagrantfile;
pub mod validate;
