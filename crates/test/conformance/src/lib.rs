//! What every back end of the key-value store is held to: cases, histories, load.
//!
//! It talks to servers over HTTP only, as clients do. It must never reach into a server's memory or files, and
//! must never call a case passed that was not run.

pub mod backend;
pub mod case;
pub mod clients;
pub mod failure;
pub mod history;
pub mod http;
pub mod load;
pub mod run;
pub mod scenes;
