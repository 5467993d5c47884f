//! Encoding of commands in the replicated log.
//!
//! A command starts with its format version and type, which determine the rest. A new field or type requires a new
//! version, and all older versions must remain readable. Each type is written in the version that introduced it, so
//! an older program can read everything except new types, which must not be proposed before all members support them.

use crate::codec::{ReadError, Reader, Writer};
use crate::command::{AuthCommand, Command, DecodeError, Delete, PasswordHash, Post, Put};

const VERSION: u8 = 1;
/// Introduced the disks.
const VERSION_OF_DISKS: u8 = 2;

const PUT: u8 = 1;
const POST: u8 = 2;
const DELETE: u8 = 3;
const SYNC: u8 = 4;
const ADD_MEMBER: u8 = 5;
const REMOVE_MEMBER: u8 = 6;
const UPDATE_MEMBER: u8 = 7;
const PUBLISH_MEMBER: u8 = 8;
const SET_CLUSTER_VERSION: u8 = 9;
const ENABLE_AUTH: u8 = 10;
const DISABLE_AUTH: u8 = 11;
const PUT_USER: u8 = 12;
const DELETE_USER: u8 = 13;
const CREATE_ROLE: u8 = 14;
const UPDATE_ROLE: u8 = 15;
const DELETE_ROLE: u8 = 16;
const RECORD_DISK: u8 = 17;

/// Flags of a put, post or delete, in one byte.
const DIR: u8 = 1;
const REFRESH: u8 = 2;
const RECURSIVE: u8 = 4;
const PREV_EXIST_GIVEN: u8 = 8;
const PREV_EXIST: u8 = 16;
const EXPIRES: u8 = 32;
const PREV_VALUE: u8 = 64;
const PREV_INDEX: u8 = 128;

impl Command {
    /// Appends the encoded command, which is self-delimiting.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        out.byte(if matches!(self, Self::RecordDisk { .. }) { VERSION_OF_DISKS } else { VERSION });
        match self {
            Self::Put(put) => write_put(&mut out, put),
            Self::Post(post) => write_post(&mut out, post),
            Self::Delete(delete) => write_delete(&mut out, delete),
            Self::Sync { now } => {
                out.byte(SYNC);
                out.time(*now);
            }
            Self::AddMember(member) => {
                out.byte(ADD_MEMBER);
                out.member(member);
            }
            Self::RemoveMember { id } => {
                out.byte(REMOVE_MEMBER);
                out.number(*id);
            }
            Self::UpdateMember { id, peer_urls } => {
                out.byte(UPDATE_MEMBER);
                out.number(*id);
                out.texts(peer_urls);
            }
            Self::PublishMember { id, name, client_urls } => {
                out.byte(PUBLISH_MEMBER);
                out.number(*id);
                out.text(name);
                out.texts(client_urls);
            }
            Self::SetClusterVersion { version } => {
                out.byte(SET_CLUSTER_VERSION);
                out.text(version);
            }
            Self::RecordDisk { id, disk, instead_of } => {
                out.byte(RECORD_DISK);
                out.number(*id);
                out.disk(*disk);
                out.option(*instead_of, Writer::disk);
            }
            Self::Auth(command) => write_auth(&mut out, command),
        }
    }

    /// Decodes a command and advances `bytes`, which are unchanged on an error. Values are copied, so that a command
    /// never keeps a whole batch in memory.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let version = input.byte()?;
        let command = match version {
            VERSION => read(&mut input)?,
            VERSION_OF_DISKS => read_disk(&mut input)?,
            found => return Err(DecodeError::UnknownVersion { found, known: VERSION_OF_DISKS }),
        };
        *bytes = input.rest();
        Ok(command)
    }
}

impl From<ReadError> for DecodeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated { at } => Self::Truncated { at },
            ReadError::Malformed { field, at } => Self::Malformed { field, at },
        }
    }
}

fn write_put(out: &mut Writer, put: &Put) {
    out.byte(PUT);
    let flags = flag(DIR, put.dir)
        | flag(REFRESH, put.refresh)
        | flag(PREV_EXIST_GIVEN, put.prev_exist.is_some())
        | flag(PREV_EXIST, put.prev_exist == Some(true))
        | flag(EXPIRES, put.expiration.is_some())
        | flag(PREV_VALUE, put.prev_value.is_some())
        | flag(PREV_INDEX, put.prev_index.is_some());
    out.byte(flags);
    out.bytes(put.key.as_bytes());
    out.bytes(&put.value);
    if let Some(expiration) = put.expiration {
        out.time(expiration);
    }
    write_comparison(out, put.prev_value.as_deref(), put.prev_index);
}

fn write_post(out: &mut Writer, post: &Post) {
    out.byte(POST);
    out.byte(flag(DIR, post.dir) | flag(EXPIRES, post.expiration.is_some()));
    out.bytes(post.key.as_bytes());
    out.bytes(&post.value);
    if let Some(expiration) = post.expiration {
        out.time(expiration);
    }
}

fn write_delete(out: &mut Writer, delete: &Delete) {
    out.byte(DELETE);
    let flags = flag(DIR, delete.dir)
        | flag(RECURSIVE, delete.recursive)
        | flag(PREV_VALUE, delete.prev_value.is_some())
        | flag(PREV_INDEX, delete.prev_index.is_some());
    out.byte(flags);
    out.bytes(delete.key.as_bytes());
    write_comparison(out, delete.prev_value.as_deref(), delete.prev_index);
}

fn write_comparison(out: &mut Writer, value: Option<&[u8]>, index: Option<u64>) {
    if let Some(value) = value {
        out.bytes(value);
    }
    if let Some(index) = index {
        out.number(index);
    }
}

fn write_auth(out: &mut Writer, command: &AuthCommand) {
    match command {
        AuthCommand::Enable => out.byte(ENABLE_AUTH),
        AuthCommand::Disable => out.byte(DISABLE_AUTH),
        AuthCommand::PutUser { name, password, roles, grant, revoke } => {
            out.byte(PUT_USER);
            out.text(name);
            out.option(password.as_ref(), |out, hash| out.text(&hash.0));
            out.texts(roles);
            out.texts(grant);
            out.texts(revoke);
        }
        AuthCommand::DeleteUser { name } => {
            out.byte(DELETE_USER);
            out.text(name);
        }
        AuthCommand::CreateRole(role) => {
            out.byte(CREATE_ROLE);
            out.role(role);
        }
        AuthCommand::UpdateRole { name, grant, revoke } => {
            out.byte(UPDATE_ROLE);
            out.text(name);
            out.permissions(grant);
            out.permissions(revoke);
        }
        AuthCommand::DeleteRole { name } => {
            out.byte(DELETE_ROLE);
            out.text(name);
        }
    }
}

fn read(input: &mut Reader<'_>) -> Result<Command, ReadError> {
    Ok(match input.byte()? {
        PUT => Command::Put(read_put(input)?),
        POST => {
            let flags = read_flags(input, DIR | EXPIRES)?;
            let (key, value) = (input.key()?, input.value()?);
            Command::Post(Post {
                key,
                value,
                dir: flags & DIR != 0,
                expiration: optional(flags, EXPIRES, input, Reader::time)?,
            })
        }
        DELETE => {
            let flags = read_flags(input, DIR | RECURSIVE | PREV_VALUE | PREV_INDEX)?;
            Command::Delete(Delete {
                key: input.key()?,
                dir: flags & DIR != 0,
                recursive: flags & RECURSIVE != 0,
                prev_value: optional(flags, PREV_VALUE, input, Reader::value)?,
                prev_index: optional(flags, PREV_INDEX, input, Reader::number)?,
            })
        }
        SYNC => Command::Sync { now: input.time()? },
        ADD_MEMBER => Command::AddMember(input.member()?),
        REMOVE_MEMBER => Command::RemoveMember { id: input.number()? },
        UPDATE_MEMBER => Command::UpdateMember { id: input.number()?, peer_urls: input.texts()? },
        PUBLISH_MEMBER => {
            Command::PublishMember { id: input.number()?, name: input.text()?, client_urls: input.texts()? }
        }
        SET_CLUSTER_VERSION => Command::SetClusterVersion { version: input.text()? },
        ENABLE_AUTH => Command::Auth(AuthCommand::Enable),
        DISABLE_AUTH => Command::Auth(AuthCommand::Disable),
        PUT_USER => Command::Auth(AuthCommand::PutUser {
            name: input.text()?,
            password: input.option(Reader::text)?.map(PasswordHash),
            roles: input.texts()?,
            grant: input.texts()?,
            revoke: input.texts()?,
        }),
        DELETE_USER => Command::Auth(AuthCommand::DeleteUser { name: input.text()? }),
        CREATE_ROLE => Command::Auth(AuthCommand::CreateRole(input.role()?)),
        UPDATE_ROLE => Command::Auth(AuthCommand::UpdateRole {
            name: input.text()?,
            grant: input.permissions()?,
            revoke: input.permissions()?,
        }),
        DELETE_ROLE => Command::Auth(AuthCommand::DeleteRole { name: input.text()? }),
        _ => return Err(input.malformed("kind")),
    })
}

/// Types that version 1 does not have.
fn read_disk(input: &mut Reader<'_>) -> Result<Command, ReadError> {
    if input.byte()? != RECORD_DISK {
        return Err(input.malformed("kind"));
    }
    let (id, disk) = (input.number()?, input.disk()?);
    Ok(Command::RecordDisk { id, disk, instead_of: input.option(Reader::disk)? })
}

fn read_put(input: &mut Reader<'_>) -> Result<Put, ReadError> {
    let flags = read_flags(input, !RECURSIVE)?;
    if flags & (PREV_EXIST | PREV_EXIST_GIVEN) == PREV_EXIST {
        return Err(input.malformed("flags"));
    }
    Ok(Put {
        key: input.key()?,
        value: input.value()?,
        dir: flags & DIR != 0,
        expiration: optional(flags, EXPIRES, input, Reader::time)?,
        prev_exist: (flags & PREV_EXIST_GIVEN != 0).then_some(flags & PREV_EXIST != 0),
        prev_value: optional(flags, PREV_VALUE, input, Reader::value)?,
        prev_index: optional(flags, PREV_INDEX, input, Reader::number)?,
        refresh: flags & REFRESH != 0,
    })
}

fn read_flags(input: &mut Reader<'_>, known: u8) -> Result<u8, ReadError> {
    let flags = input.byte()?;
    if flags & !known == 0 { Ok(flags) } else { Err(input.malformed("flags")) }
}

fn optional<'a, T>(
    flags: u8,
    which: u8,
    input: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, ReadError>,
) -> Result<Option<T>, ReadError> {
    if flags & which == 0 { Ok(None) } else { read(input).map(Some) }
}

fn flag(which: u8, is_set: bool) -> u8 {
    if is_set { which } else { 0 }
}
