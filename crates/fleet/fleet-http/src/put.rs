//! `PUT /units/NAME`: the checks, in the contract's order, and what follows from them.

use fleet_api::{ErrorDocument, JobState, Unit};
use hyper::StatusCode;
use unit_file::{Requirements, Severity, UnitFile, UnitHash, UnitName};

use crate::answer::{Answered, empty, failed, no_unit, refuse};
use crate::backend::Backend;
use crate::body::Body;
use crate::front::Front;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Or replaced.
    Create(UnitFile, JobState),
    SetDesired(JobState),
}

pub async fn put<B: Backend>(front: &Front<B>, name: &str, body: Body) -> Answered {
    let unit: Unit = body.decoded().await?;
    let name = name_of(name, &unit.name)?;
    let desired = desired_of(&unit)?;
    let known = front.look(|view, _| view.unit(&name).and_then(|_| view.hash(&name)))?;
    let (done, status) = match change(&name, &unit, desired, known)? {
        Change::Create(file, desired) => {
            (front.backend.create(&name, &file, desired).await, StatusCode::CREATED)
        }
        Change::SetDesired(desired) => {
            (front.backend.set_desired(&name, desired).await, StatusCode::NO_CONTENT)
        }
    };
    done.map_err(|failure| failed(failure, no_unit))?;
    Ok(empty(status))
}

fn name_of(in_url: &str, in_body: &str) -> Result<UnitName, ErrorDocument> {
    if !in_body.is_empty() && in_body != in_url {
        let text = format!("name in URL {in_url:?} differs from unit name in request body {in_body:?}");
        return Err(refuse(400, text));
    }
    UnitName::parse(in_url).map_err(|error| refuse(400, error.to_string()))
}

fn desired_of(unit: &Unit) -> Result<Option<JobState>, ErrorDocument> {
    match unit.desired_state.as_str() {
        "" => Ok(None),
        given => given.parse().map(Some).map_err(|error| refuse(400, format!("{error}"))),
    }
}

/// `known` is the hash of the text that the unit has.
fn change(
    name: &UnitName,
    unit: &Unit,
    desired: Option<JobState>,
    known: Option<UnitHash>,
) -> Result<Change, ErrorDocument> {
    if known.is_none() && unit.options.is_empty() {
        return Err(refuse(409, "unit does not exist and options field empty"));
    }
    if !unit.options.is_empty() {
        let file = file_of(name, unit)?;
        if known != Some(file.hash()) {
            accept(name, &file)?;
            let desired = desired.unwrap_or_default();
            may_be(name, desired)?;
            return Ok(Change::Create(file, desired));
        }
    }
    let Some(desired) = desired else {
        return Err(refuse(409, "must provide DesiredState to update existing unit"));
    };
    may_be(name, desired)?;
    Ok(Change::SetDesired(desired))
}

/// The unit's text, as all that read it out of the store will read it. Options may hold what no text gives: newlines,
/// say; what cannot be read back would be a unit that nobody can use.
fn file_of(name: &UnitName, unit: &Unit) -> Result<UnitFile, ErrorDocument> {
    let read = UnitFile::from_text(&unit.file().normalised());
    let file = read.map_err(|error| refuse(400, format!("{name}: {}: {error}", error.position)))?;
    if file.options().is_empty() {
        return Err(refuse(400, format!("{name}: its options make no text that holds any")));
    }
    Ok(file)
}

/// Whether a unit with this text is taken.
pub fn accept(name: &UnitName, file: &UnitFile) -> Result<(), ErrorDocument> {
    if !name.kind().runs() {
        let text = format!(
            "units of type {:?} cannot run: use service, socket, timer, path, device, mount, automount or target",
            name.suffix()
        );
        return Err(refuse(400, text));
    }
    let (_, findings) = Requirements::read(file, name);
    match findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) => Err(refuse(400, error.message)),
        None => Ok(()),
    }
}

fn may_be(name: &UnitName, desired: JobState) -> Result<(), ErrorDocument> {
    if name.is_template() && desired != JobState::Inactive {
        return Err(refuse(400, format!("cannot activate template {:?}", name.as_str())));
    }
    Ok(())
}
