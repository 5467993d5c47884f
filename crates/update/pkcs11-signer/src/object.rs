//! Keys on a token.

use std::fmt::Write as _;

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};

use crate::error::Cause;
use crate::token::Token;
use crate::uri::KeyUri;

/// A key's handle and its description.
#[derive(Debug, Clone)]
pub struct Object {
    pub handle: ObjectHandle,
    pub label: String,
    pub id: Vec<u8>,
    /// `None`: a type that PKCS#11 does not define.
    pub key_type: Option<KeyType>,
}

impl Object {
    /// Keys of a class that a URI selects.
    pub fn find(token: &Token, class: ObjectClass, uri: &KeyUri) -> Result<Vec<Self>, Cause> {
        let label = uri.object.as_ref().map(|label| Attribute::Label(label.as_bytes().to_vec()));
        let id = uri.id.clone().map(Attribute::Id);
        Self::search(token, class, label.into_iter().chain(id))
    }

    /// All keys of a class.
    pub fn all(token: &Token, class: ObjectClass) -> Result<Vec<Self>, Cause> {
        Self::search(token, class, [])
    }

    /// The public key of this private key: that of the same id; without an id, that of the same label.
    pub fn companions(&self, token: &Token) -> Result<Vec<Self>, Cause> {
        let attribute = match self.id.is_empty() {
            true => Attribute::Label(self.label.clone().into_bytes()),
            false => Attribute::Id(self.id.clone()),
        };
        let found = Self::search(token, ObjectClass::PUBLIC_KEY, [attribute])?;
        Ok(found.into_iter().filter(|public| public.key_type == self.key_type).collect())
    }

    fn search(
        token: &Token,
        class: ObjectClass,
        attributes: impl IntoIterator<Item = Attribute>,
    ) -> Result<Vec<Self>, Cause> {
        let template: Vec<_> = [Attribute::Class(class)].into_iter().chain(attributes).collect();
        let handles = token.session.find_objects(&template).map_err(token.failed("search its keys"))?;
        handles.into_iter().map(|handle| Self::describe(token, handle)).collect()
    }

    fn describe(token: &Token, handle: ObjectHandle) -> Result<Self, Cause> {
        let mut object = Self { handle, label: String::new(), id: Vec::new(), key_type: None };
        for attribute in
            attributes(token, handle, &[AttributeType::Label, AttributeType::Id, AttributeType::KeyType])?
        {
            match attribute {
                Attribute::Label(label) => object.label = String::from_utf8_lossy(&label).into_owned(),
                Attribute::Id(id) => object.id = id,
                Attribute::KeyType(kind) => object.key_type = Some(kind),
                _ => {}
            }
        }
        Ok(object)
    }

    /// Label and id, as a URI has them.
    pub fn name(&self) -> String {
        let id = self.id.iter().fold(String::new(), |mut text, byte| {
            // invariant: writing to a string cannot fail.
            write!(text, "%{byte:02x}").ok();
            text
        });
        format!("key {:?} (id {})", self.label, if id.is_empty() { "none" } else { &id })
    }
}

/// Those of an object's attributes that it has.
pub fn attributes(
    token: &Token,
    object: ObjectHandle,
    which: &[AttributeType],
) -> Result<Vec<Attribute>, Cause> {
    token.session.get_attributes(object, which).map_err(token.failed("describe a key"))
}
