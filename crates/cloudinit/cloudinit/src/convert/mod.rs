//! Converts cloud-config to Ignition 3.3 or to Butane YAML for Flatcar (contract 7).
//!
//! The document is built from the plan for a new machine, so that it matches what a run would do. Each key
//! without a counterpart is reported with its line.

mod build;
mod document;
mod error;
mod ignition;
mod unsupported;

use std::borrow::Cow;

pub use error::ConvertError;
pub use unsupported::Unsupported;

use crate::check::Checked;
use crate::config::{self, CloudConfig};
use crate::interpretation::Interpretation;
use crate::multipart::{self, Content};
use crate::preview;
use crate::template::unescape;
use crate::user_data::{Kind, UserData};
use crate::yaml;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON of Ignition spec 3.3.0.
    Ignition,
    /// YAML of variant flatcar, version 1.0.0, which transpiles to Ignition 3.3.0.
    Butane,
}

impl Format {
    pub const NAMES: [&str; 2] = ["ignition", "butane"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ignition" => Some(Self::Ignition),
            "butane" => Some(Self::Butane),
            _ => None,
        }
    }
}

/// May contain secrets: password hashes and file contents.
pub struct Converted {
    pub text: String,
    /// Keys without a full counterpart, sorted by line.
    pub unsupported: Vec<Unsupported>,
}

/// Converts without metadata: the result is valid for any machine.
///
/// # Errors
/// There is no cloud-config, or it would not be applied.
pub fn convert(user_data: &UserData, format: Format) -> Result<Converted, ConvertError> {
    match user_data.kind {
        Kind::Script => return Err(ConvertError::Script),
        Kind::Ignition => return Err(ConvertError::Ignition),
        Kind::Unknown(_) => return Err(ConvertError::Invalid),
        Kind::Empty | Kind::CloudConfig | Kind::Multipart => {}
    }
    let Interpretation { mut checked, scripts, .. } =
        preview::interpret_without_addresses(user_data).ok_or(ConvertError::Invalid)?;
    let parts = parts(user_data)?;
    let hostname = parts.iter().find_map(|part| part.config.hostname.as_ref());
    if hostname.is_some_and(|name| unsupported::has_token(&name.text)) {
        checked.hostname = None;
    }
    let mut unsupported: Vec<_> = parts.iter().flat_map(|part| part.unsupported(&checked)).collect();
    unsupported.extend(script_parts(user_data));
    unsupported.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
    unsupported.dedup();
    let plan = preview::plan_for_new_machine(&checked, &scripts);
    let document = build::document(&plan, &checked);
    let text = match format {
        Format::Butane => serde_yaml::to_string(&document).map_err(ConvertError::Yaml)?,
        Format::Ignition => ignition::print(&document)?,
    };
    Ok(Converted { text, unsupported })
}

/// One cloud-config of the user-data.
struct ConfigPart<'text> {
    text: Cow<'text, [u8]>,
    config: CloudConfig,
    document: yaml::Document,
    line_mapping: LineMapping,
}

/// How lines of a part map to lines of the user-data.
enum LineMapping {
    /// Lines are offset by this number.
    Offset(u32),
    /// The part was encoded: its first line in the user-data, and its name.
    Decoded(u32, String),
}

impl ConfigPart<'_> {
    fn unsupported(&self, checked: &Checked) -> Vec<Unsupported> {
        let mut list = unsupported::collect(&self.text, self.document.root.as_deref(), &self.config, checked);
        for entry in &mut list {
            match &self.line_mapping {
                LineMapping::Offset(lines) => entry.line += lines,
                LineMapping::Decoded(line, name) => {
                    entry.why.push_str(&format!(" ({name}, line {})", entry.line));
                    entry.line = *line;
                }
            }
        }
        list
    }
}

fn parts(user_data: &UserData) -> Result<Vec<ConfigPart<'_>>, ConvertError> {
    let read = |text: Cow<'_, [u8]>, line_mapping| {
        let document = yaml::read(&unescape(&text)).map_err(|_| ConvertError::Invalid)?;
        let config = config::read(document.root.as_deref());
        Ok(ConfigPart { text: Cow::Owned(text.into_owned()), config, document, line_mapping })
    };
    match user_data.kind {
        Kind::CloudConfig => Ok(vec![read(Cow::Borrowed(&user_data.text), LineMapping::Offset(0))?]),
        Kind::Multipart => multipart::read(&user_data.text)
            .parts
            .into_iter()
            .filter_map(|part| match part.content {
                Content::CloudConfig(text) if part.is_verbatim => {
                    Some(read(text, LineMapping::Offset(part.line - 1)))
                }
                Content::CloudConfig(text) => Some(read(text, LineMapping::Decoded(part.line, part.name))),
                _ => None,
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn script_parts(user_data: &UserData) -> Vec<Unsupported> {
    if user_data.kind != Kind::Multipart {
        return Vec::new();
    }
    let parts = multipart::read(&user_data.text).parts.into_iter();
    parts
        .filter(|part| matches!(part.content, Content::Script(_)))
        .map(|part| Unsupported::script(part.line, part.name))
        .collect()
}

#[cfg(test)]
mod tests;
