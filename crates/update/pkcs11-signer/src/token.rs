//! Sessions with a token, and its PIN.

use cryptoki::context::{Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::{Cause, LIST_TOKENS};
use crate::module;
use crate::pin::{Pin, PinPrompt, PinRequest};
use crate::tries::Tries;
use crate::uri::KeyUri;

/// A session with the one token that a URI selects.
pub struct Token {
    context: Pkcs11,
    slot: Slot,
    pub session: Session,
    /// Label, serial number and slot, for messages.
    pub name: String,
}

impl Token {
    /// Opens a read-only session, without a PIN.
    pub fn open(uri: &KeyUri) -> Result<Self, Cause> {
        let path = module::find(uri.module.as_ref())?;
        let context = module::load(&path)?;
        let failed = |action| {
            let token = format!("the module {}", path.display());
            move |source| Cause::Token { token: token.clone(), action, source }
        };
        let slots = context.get_slots_with_token().map_err(failed(LIST_TOKENS))?;
        let (mut found, mut present) = (Vec::new(), Vec::new());
        for slot in slots {
            let info = context.get_token_info(slot).map_err(failed("describe a token"))?;
            if !info.token_initialized() {
                continue;
            }
            let name = describe(slot, &info);
            if selects(uri, slot, &info) {
                found.push((slot, name.clone()));
            }
            present.push(name);
        }
        let [(slot, name)] = &*found else {
            let found: Vec<_> = found.into_iter().map(|(_, name)| name).collect();
            return Err(match found.is_empty() {
                true => Cause::TokenMissing { module: path, present },
                false => Cause::SeveralTokens { module: path, found },
            });
        };
        let (slot, name) = (*slot, name.clone());
        let session = context.open_ro_session(slot).map_err(|source| Cause::Token {
            token: name.clone(),
            action: "open a session",
            source,
        })?;
        Ok(Self { context, slot, session, name })
    }

    /// An error of the module.
    pub fn failed(&self, action: &'static str) -> impl Fn(Error) -> Cause {
        let token = self.name.clone();
        move |source| Cause::Token { token: token.clone(), action, source }
    }

    pub fn has_mechanism(&self, mechanism: MechanismType) -> Result<bool, Cause> {
        let all = self.context.get_mechanism_list(self.slot).map_err(self.failed("list its mechanisms"))?;
        Ok(all.contains(&mechanism))
    }

    /// Whether PINs are entered on the token or its reader.
    pub fn has_keypad(&self) -> Result<bool, Cause> {
        Ok(self.info()?.protected_authentication_path())
    }

    /// Logs in, unless the token needs no login or has this process's. Returns the PIN that was used.
    pub fn log_in(&self, uri: &KeyUri, prompt: &dyn PinPrompt) -> Result<Option<Pin>, Cause> {
        let state = self.session.get_session_info().map_err(self.failed("describe a session"))?;
        let info = self.info()?;
        if matches!(state.session_state(), SessionState::RoUser | SessionState::RwUser)
            || !info.login_required()
        {
            return Ok(None);
        }
        if !info.user_pin_initialized() {
            return Err(Cause::NoPinSet { token: self.name.clone() });
        }
        if info.protected_authentication_path() {
            self.authenticate(UserType::User, None)?;
            return Ok(None);
        }
        let pin = self.pin(uri, prompt)?;
        self.authenticate(UserType::User, Some(&pin))?;
        Ok(Some(pin))
    }

    /// The PIN, from the URI's file or the prompt. It is not tried.
    pub fn pin(&self, uri: &KeyUri, prompt: &dyn PinPrompt) -> Result<Pin, Cause> {
        let token = || self.name.clone();
        let tries = Tries::of(&self.info()?);
        match (tries, &uri.pin_source) {
            (Tries::None, _) => Err(Cause::Locked { token: token() }),
            // Nobody sees what a file has before it locks the token.
            (Tries::Last, Some(file)) => Err(Cause::LastTry { token: token(), file: file.clone() }),
            (_, Some(file)) => Pin::read(file),
            (_, None) => prompt
                .pin(&PinRequest { token: &self.name, tries })
                .map_err(|source| Cause::PinNeeded { token: token(), source }),
        }
    }

    /// Tries a PIN once. `None`: the token has its own keypad.
    pub fn authenticate(&self, user: UserType, pin: Option<&Pin>) -> Result<(), Cause> {
        let Err(error) = self.session.login(user, pin.map(|pin| &pin.0)) else { return Ok(()) };
        let token = self.name.clone();
        Err(match error {
            Error::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login) => return Ok(()),
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
                Cause::WrongPin { token, tries: Tries::of(&self.info()?) }
            }
            Error::Pkcs11(RvError::PinLocked, _) => Cause::Locked { token },
            Error::Pkcs11(RvError::UserPinNotInitialized, _) => Cause::NoPinSet { token },
            source => Cause::Token { token, action: "log in", source },
        })
    }

    fn info(&self) -> Result<TokenInfo, Cause> {
        self.context.get_token_info(self.slot).map_err(self.failed("describe itself"))
    }
}

fn selects(uri: &KeyUri, slot: Slot, info: &TokenInfo) -> bool {
    // Fields are padded with blanks, which the library removes.
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.trim_end() == found)
    };
    is(&uri.token, info.label())
        && is(&uri.manufacturer, info.manufacturer_id())
        && is(&uri.model, info.model())
        && is(&uri.serial, info.serial_number())
        && uri.slot_id.is_none_or(|id| id == slot.id())
}

fn describe(slot: Slot, info: &TokenInfo) -> String {
    // A label is whatever its owner wrote.
    format!("token {:?} (serial {:?}, slot {})", info.label(), info.serial_number(), slot.id())
}
