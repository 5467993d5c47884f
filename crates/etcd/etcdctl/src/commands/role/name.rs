//! Arguments and flags shared by the role commands.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::{KeyPermissions, Permissions};

use crate::failure::Failure;

pub const FLAGS: &[Flag] = &[
    Flag::new("path", ValueKind::Text, "key, or key prefix followed by '*'"),
    Flag::switch("read", "read permission"),
    Flag::switch("write", "write permission"),
    Flag::switch("readwrite", "read and write permission"),
];

pub fn role(args: &ParsedArgs) -> Result<&str, Failure> {
    match args.arguments.as_slice() {
        [role] if !role.is_empty() => Ok(role),
        _ => Err(Failure::usage("Please provide a role name")),
    }
}

pub fn permissions(args: &ParsedArgs) -> Result<Permissions, Failure> {
    let Some(path) = args.text("path").filter(|path| !path.is_empty()) else {
        return Err(Failure::usage("No path specified; please use `-path`"));
    };
    let paths = vec![path.to_owned()];
    let kv = match (args.is_set("read"), args.is_set("write"), args.is_set("readwrite")) {
        (true, false, false) => KeyPermissions { read: paths, write: Vec::new() },
        (false, true, false) => KeyPermissions { read: Vec::new(), write: paths },
        (false, false, true) => KeyPermissions { read: paths.clone(), write: paths },
        _ => return Err(Failure::usage("Please specify exactly one of -read, -write or -readwrite")),
    };
    Ok(Permissions { kv })
}
