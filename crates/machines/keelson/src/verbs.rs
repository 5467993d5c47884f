//! One file a verb.

mod boots;
pub mod ca;
pub mod channel;
pub mod console;
pub mod doctor;
pub mod down;
pub mod fake_machines;
pub mod internal;
pub mod keys;
mod late;
pub mod manual;
pub mod power;
pub mod publish;
pub mod release;
pub mod serve_updates;
pub mod ssh;
pub mod status;
pub mod test;
pub mod up;
pub mod validate;
