//! Replies of systemd's manager and of the bus.

use std::fs;
use std::path::Path;

use zbus::message::Header;
use zbus::{DynamicType, Message, OwnedObjectPath, Variant};

use super::messages::{changed, job, job_removed, manager, object, unit_of};
use super::{Action, State, Stop, Unit};

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const STOP_LIMIT: u64 = 90_000_000;

type Links = Vec<(String, String, String)>;
type Replies = Result<Vec<Action>, (&'static str, String)>;

impl State {
    /// The reply and related signals; nothing if the call waits or fails.
    pub fn handle_call(&mut self, message: &Message) -> Vec<Action> {
        let header = message.header();
        let method = header.member().unwrap().to_string();
        let unit = first_word(message);
        let call = format!("{method} {unit}").trim_end().to_owned();
        self.calls.push(call.clone());
        if self.cut_at.as_ref() == Some(&call) {
            self.cut_at = None;
            return vec![Action::Cut];
        }
        let refusal = self.error_replies.get(&call).map(|(name, text)| (*name, (*text).to_owned()));
        let answers = match refusal {
            Some(refusal) => Err(refusal),
            None => self.dispatch(&header, &method, &unit, message),
        };
        let out = answers.unwrap_or_else(|(name, text)| {
            vec![Action::Reply(Message::error(&header, name).build(&(text,)).unwrap())]
        });
        match self.hold_method {
            Some((held, many)) if held == method => {
                self.held.push(out);
                let is_time = self.held.len() >= many;
                if is_time { self.held.drain(..).flatten().collect() } else { Vec::new() }
            }
            _ => out,
        }
    }

    fn dispatch(&mut self, header: &Header<'_>, method: &str, unit: &str, message: &Message) -> Replies {
        match method {
            "GetNameOwner" => Ok(answer(header, &self.sender())),
            "AddMatch" => {
                self.rules.insert(unit.to_owned());
                Ok(answer(header, &()))
            }
            "Subscribe" if self.subscribed => Err((
                "org.freedesktop.systemd1.AlreadySubscribed",
                "Client is already subscribed.".to_owned(),
            )),
            "Subscribe" => {
                self.subscribed = true;
                Ok(answer(header, &()))
            }
            "EnableUnitFiles" => Ok(self.enable(header, message)),
            "DisableUnitFiles" => self.disable(header, message),
            "Reload" => Ok(self.reload(header)),
            "StartUnit" => self.start(header, unit),
            "StopUnit" => self.stop(header, unit),
            "KillUnit" | "ResetFailedUnit" => match self.units.contains_key(unit) {
                true => Ok(answer(header, &())),
                false => Err(not_loaded(unit)),
            },
            "GetUnit" => match self.units.contains_key(unit) {
                true => Ok(answer(header, &object(unit))),
                false => Err(not_loaded(unit)),
            },
            "GetJob" => {
                let number: u32 = message.body().deserialize().unwrap();
                match self.units.values().any(|unit| unit.job == Some(number)) {
                    true => Ok(answer(header, &job(number))),
                    false => {
                        Err(("org.freedesktop.systemd1.NoSuchJob", format!("Job {number} does not exist.")))
                    }
                }
            }
            "ListUnitsByNames" => {
                Ok(self.list(header, &message.body().deserialize::<Vec<String>>().unwrap()))
            }
            "Get" => Ok(self.property(header, message)),
            other => Err(("org.freedesktop.DBus.Error.UnknownMethod", other.to_owned())),
        }
    }

    fn enable(&mut self, header: &Header<'_>, message: &Message) -> Vec<Action> {
        let (names, runtime, force): (Vec<String>, bool, bool) = message.body().deserialize().unwrap();
        assert!(runtime && force, "links would be kept, or old ones stay");
        if !self.nothing_to_enable {
            self.enabled.extend(names);
        }
        answer(header, &(!self.nothing_to_enable, Links::new()))
    }

    fn disable(&mut self, header: &Header<'_>, message: &Message) -> Replies {
        let (names, runtime): (Vec<String>, bool) = message.body().deserialize().unwrap();
        assert!(runtime, "links below /etc are not ours");
        if names.iter().any(|name| self.disable_failures.contains(name)) {
            return Err(("org.freedesktop.DBus.Error.AccessDenied", "Permission denied".to_owned()));
        }
        for name in names {
            // As systemd does with links to enabled units.
            fs::remove_file(self.link_folder.join(&name)).unwrap_or_default();
            self.enabled.remove(&name);
        }
        Ok(answer(header, &Links::new()))
    }

    fn reload(&mut self, header: &Header<'_>) -> Vec<Action> {
        let sender = self.sender();
        let begins = manager(&sender, "Reloading", &true);
        let names: Vec<_> = self.units.keys().cloned().collect();
        for name in names {
            let known = self.units[&name].clone();
            let now = self.read(&name);
            let unit = Unit { load: now.load, fragment: now.fragment, ..known };
            self.units.insert(name.clone(), unit);
            self.collect(&name);
        }
        let mut out = vec![Action::Signal(begins)];
        if self.reload_drops_subscribers {
            out.push(Action::Forget);
        }
        out.extend(answer(header, &()));
        out.push(Action::Signal(manager(&sender, "Reloading", &false)));
        out
    }

    fn start(&mut self, header: &Header<'_>, unit: &str) -> Replies {
        let read = self.read(unit);
        if read.load != "loaded" {
            return Err((NO_SUCH_UNIT, format!("Unit {unit} not found.")));
        }
        self.units.insert(unit.to_owned(), Unit::of("loaded", "active", Path::new(&read.fragment)));
        self.last_job += 1;
        let (number, sender) = (self.last_job, self.sender());
        let mut out = answer(header, &job(number));
        out.push(Action::Signal(manager(&sender, "UnitNew", &(unit, object(unit)))));
        out.push(Action::Signal(changed(&sender, unit, "active", "running")));
        out.push(Action::Signal(job_removed(&sender, number, unit, "done")));
        Ok(out)
    }

    fn stop(&mut self, header: &Header<'_>, unit: &str) -> Replies {
        let Some(known) = self.units.get_mut(unit) else { return Err(not_loaded(unit)) };
        let number = *known.job.get_or_insert_with(|| {
            self.last_job += 1;
            self.last_job
        });
        let mut out = answer(header, &job(number));
        match self.stops.get(unit).copied().unwrap_or(Stop::With("done", "inactive")) {
            Stop::Held => {
                known.active = "deactivating".to_owned();
                known.sub = "stop-sigterm".to_owned();
            }
            Stop::With(result, active) => out.extend(self.end_stop(unit, number, result, active)),
            Stop::BeforeAnswer => {
                let ends = self.end_stop(unit, number, "done", "inactive");
                out.splice(0..0, ends);
            }
            Stop::Unsaid => drop(self.end_stop(unit, number, "done", "inactive")),
        }
        Ok(out)
    }

    pub fn end_stop(&mut self, unit: &str, number: u32, result: &str, active: &str) -> Vec<Action> {
        let sender = self.sender();
        if let Some(known) = self.units.get_mut(unit) {
            *known = Unit { load: known.load.clone(), ..Unit::of("", active, Path::new(&known.fragment)) };
        }
        let sub = self.units.get(unit).map_or("dead", |unit| &unit.sub).to_owned();
        let mut out = vec![
            Action::Signal(changed(&sender, unit, active, &sub)),
            Action::Signal(job_removed(&sender, number, unit, result)),
        ];
        out.extend(self.collect(unit));
        out
    }

    /// Loads units for the reply and unloads them again, as systemd does with unneeded units.
    fn list(&mut self, header: &Header<'_>, names: &[String]) -> Vec<Action> {
        let mut rows = Vec::new();
        let mut signals = Vec::new();
        for name in names {
            let unit = match self.units.get(name) {
                Some(unit) => unit.clone(),
                None => {
                    for member in ["UnitNew", "UnitRemoved"] {
                        signals.push(Action::Signal(manager(&self.sender(), member, &(name, object(name)))));
                    }
                    self.read(name)
                }
            };
            let none: OwnedObjectPath = "/".try_into().unwrap();
            let [empty, followed, kind] = [(); 3].map(|()| String::new());
            let Unit { load, active, sub, .. } = unit;
            rows.push((name.clone(), empty, load, active, sub, followed, object(name), 0u32, kind, none));
        }
        let mut out = answer(header, &rows);
        out.extend(signals);
        out
    }

    fn property(&mut self, header: &Header<'_>, message: &Message) -> Vec<Action> {
        let path = header.path().unwrap().as_str();
        let links = self.links();
        let names = self.units.keys().chain(links.keys()).chain(self.elsewhere.keys());
        let unit = unit_of(path, names).unwrap_or_default();
        let (interface, property): (String, String) = message.body().deserialize().unwrap();
        let value = match property.as_str() {
            "FragmentPath" => {
                Variant::from(self.units.get(&unit).cloned().unwrap_or_else(|| self.read(&unit)).fragment)
            }
            "TimeoutStopUSec" | "TimeoutUSec" => {
                assert!(
                    interface.to_lowercase().ends_with(unit.rsplit('.').next().unwrap()),
                    "{interface} {unit}"
                );
                Variant::from(self.stop_limits.get(&unit).copied().unwrap_or(STOP_LIMIT))
            }
            other => panic!("property {other}"),
        };
        answer(header, &value)
    }

    /// The unit as its file defines it.
    fn read(&self, unit: &str) -> Unit {
        let template = unit.split_once('@').map(|(prefix, _)| format!("{prefix}@.service"));
        let link = fs::read_link(self.link_folder.join(unit)).ok().filter(|path| path.exists());
        if let Some((load, fragment)) = self.elsewhere.get(unit) {
            Unit::of(load, "inactive", Path::new(fragment))
        } else if let Some(path) = link {
            Unit::of("loaded", "inactive", &path)
        } else if let Some((load, fragment)) = template.and_then(|name| self.elsewhere.get(&name)) {
            Unit::of(load, "inactive", Path::new(fragment))
        } else {
            Unit::of("not-found", "inactive", Path::new(""))
        }
    }

    /// Unloads an inactive unit.
    fn collect(&mut self, unit: &str) -> Option<Action> {
        let known = self.units.get(unit)?;
        if known.active != "inactive" || known.job.is_some() {
            return None;
        }
        self.units.remove(unit);
        Some(Action::Signal(manager(&self.sender(), "UnitRemoved", &(unit, object(unit)))))
    }
}

fn answer<B>(header: &Header<'_>, body: &B) -> Vec<Action>
where
    B: serde::Serialize + DynamicType,
{
    vec![Action::Reply(Message::method_return(header).build(body).unwrap())]
}

fn not_loaded(unit: &str) -> (&'static str, String) {
    (NO_SUCH_UNIT, format!("Unit {unit} not loaded."))
}

/// The first string argument, without its directory.
fn first_word(message: &Message) -> String {
    let body = message.body();
    let text = match body.signature().to_string().trim_start_matches('(') {
        text if text.starts_with("as") => {
            let all: Vec<String> = body.deserialize_ignore_signature().unwrap();
            all.into_iter().next().unwrap_or_default()
        }
        text if text.starts_with('s') => body.deserialize_ignore_signature::<String>().unwrap(),
        _ => String::new(),
    };
    match text.starts_with('/') {
        true => text.rsplit('/').next().unwrap_or_default().to_owned(),
        false => text,
    }
}
