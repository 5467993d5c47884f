//! Cloud-config to what other systems read today: Ignition 3.3, and Butane's YAML for Flatcar (contract 7).
//!
//! It is made of the plan that a run on a new machine would carry out, so that the two cannot differ. What has no
//! counterpart it must never drop without a word: each such key is named with its line.

mod build;
mod document;
mod error;
mod ignition;
mod without;

use std::borrow::Cow;

pub use error::ConvertError;
pub use without::Without;

use crate::check::Checked;
use crate::config::{self, CloudConfig};
use crate::meaning::Meaning;
use crate::multipart::{self, Content};
use crate::preview;
use crate::template::without_escapes;
use crate::user_data::{Kind, UserData};
use crate::yaml;

/// What user-data is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON of spec 3.3.0.
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

/// It may hold secrets: password hashes and contents of files.
pub struct Converted {
    pub text: String,
    /// Sorted by line.
    pub without: Vec<Without>,
}

/// Metadata is not asked for: the result is for any machine.
///
/// # Errors
/// There is no cloud-config, or it would not be applied.
pub fn convert(user_data: &UserData, format: Format) -> Result<Converted, ConvertError> {
    match user_data.kind {
        Kind::Script => return Err(ConvertError::Script),
        Kind::Ignition => return Err(ConvertError::Ignition),
        Kind::Unknown(_) => return Err(ConvertError::NotValid),
        Kind::Empty | Kind::CloudConfig | Kind::Multipart => {}
    }
    let Meaning { mut checked, scripts, .. } = preview::usable(user_data).ok_or(ConvertError::NotValid)?;
    let parts = parts(user_data)?;
    let hostname = parts.iter().find_map(|part| part.config.hostname.as_ref());
    if hostname.is_some_and(|name| without::has_token(&name.text)) {
        checked.hostname = None;
    }
    let mut without: Vec<_> = parts.iter().flat_map(|part| part.without(&checked)).collect();
    without.extend(script_parts(user_data));
    without.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
    without.dedup();
    let plan = preview::steps(&checked, &scripts);
    let document = build::document(&plan, &checked);
    let text = match format {
        Format::Butane => serde_yaml::to_string(&document).map_err(ConvertError::Yaml)?,
        Format::Ignition => ignition::print(&document)?,
    };
    Ok(Converted { text, without })
}

/// One cloud-config of the user-data.
struct Part<'text> {
    text: Cow<'text, [u8]>,
    config: CloudConfig,
    document: yaml::Document,
    at: At,
}

/// Where a part's lines are in the whole text.
enum At {
    /// Behind so many.
    After(u32),
    /// In what was decoded from this line on; the part's name.
    Inside(u32, String),
}

impl Part<'_> {
    fn without(&self, checked: &Checked) -> Vec<Without> {
        let mut list = without::of(&self.text, self.document.root.as_deref(), &self.config, checked);
        for entry in &mut list {
            match &self.at {
                At::After(lines) => entry.line += lines,
                At::Inside(line, name) => {
                    entry.why.push_str(&format!(" ({name}, line {})", entry.line));
                    entry.line = *line;
                }
            }
        }
        list
    }
}

fn parts(user_data: &UserData) -> Result<Vec<Part<'_>>, ConvertError> {
    let read = |text: Cow<'_, [u8]>, at| {
        let document = yaml::read(&without_escapes(&text)).map_err(|_| ConvertError::NotValid)?;
        let config = config::read(document.root.as_deref());
        Ok(Part { text: Cow::Owned(text.into_owned()), config, document, at })
    };
    match user_data.kind {
        Kind::CloudConfig => Ok(vec![read(Cow::Borrowed(&user_data.text), At::After(0))?]),
        Kind::Multipart => multipart::read(&user_data.text)
            .parts
            .into_iter()
            .filter_map(|part| match part.content {
                Content::CloudConfig(text) if part.is_verbatim => Some(read(text, At::After(part.line - 1))),
                Content::CloudConfig(text) => Some(read(text, At::Inside(part.line, part.name))),
                _ => None,
            })
            .collect(),
        _ => Ok(Vec::new()),
    }
}

fn script_parts(user_data: &UserData) -> Vec<Without> {
    if user_data.kind != Kind::Multipart {
        return Vec::new();
    }
    let parts = multipart::read(&user_data.text).parts.into_iter();
    parts
        .filter(|part| matches!(part.content, Content::Script(_)))
        .map(|part| Without::script(part.line, part.name))
        .collect()
}

#[cfg(test)]
mod tests;
