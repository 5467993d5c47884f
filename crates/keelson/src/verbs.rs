//! One file a verb.

pub mod ca;
pub mod console;
pub mod doctor;
pub mod down;
pub mod internal;
pub mod keys;
pub mod manual;
pub mod power;
pub mod release;
pub mod ssh;
pub mod status;
pub mod test;
pub mod up;
pub mod validate;
