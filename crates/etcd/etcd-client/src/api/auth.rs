//! The auth API: users, roles, and enabling authentication.

use hyper::Method;
use serde::{Deserialize, Deserializer, Serialize};

use crate::client::Client;
use crate::error::Error;
use crate::escape;
use crate::transport::{Body, Call, JSON};

/// A user with its roles, as in `GET /v2/auth/users/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The user's name.
    pub user: String,
    /// Roles with their permissions.
    #[serde(default, deserialize_with = "or_null")]
    pub roles: Vec<Role>,
}

/// `root` may do everything; `guest` applies to requests without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Role {
    /// The role's name.
    pub role: String,
    /// What the role grants.
    #[serde(default)]
    pub permissions: Permissions,
}

/// Permissions by resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// For keys, the only resource.
    #[serde(default)]
    pub kv: KeyPermissions,
}

/// Key patterns: a key, or a key prefix followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyPermissions {
    /// May be read and watched.
    #[serde(default, deserialize_with = "or_null")]
    pub read: Vec<String>,
    /// May be changed and removed.
    #[serde(default, deserialize_with = "or_null")]
    pub write: Vec<String>,
}

/// A user to create.
pub struct NewUser<'a> {
    /// The name.
    pub user: &'a str,
    /// In plain text; never traced.
    pub password: &'a str,
}

/// A change of a user.
pub enum UserChange<'a> {
    /// Adds roles.
    Grant(&'a [String]),
    /// Takes roles away.
    Revoke(&'a [String]),
    /// Replaces the password.
    Password(&'a str),
}

#[derive(Serialize)]
struct UserBody<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<&'a [String]>,
}

#[derive(Serialize)]
struct RoleBody<'a> {
    role: &'a str,
    permissions: Permissions,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a Permissions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<&'a Permissions>,
}

#[derive(Deserialize)]
struct Users {
    #[serde(default, deserialize_with = "or_null")]
    users: Vec<User>,
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default, deserialize_with = "or_null")]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

const ENABLE: &str = "/v2/auth/enable";
const USERS: &str = "/v2/auth/users";
const ROLES: &str = "/v2/auth/roles";

/// Servers encode an empty list as `null`.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Client {
    /// Whether credentials are required.
    pub async fn auth_enabled(&self) -> Result<bool, Error> {
        Ok(self.send_for_json::<Enabled>(&Call::get(ENABLE), &[200]).await?.enabled)
    }

    /// Requires a user `root`. Creates the role `guest` if there is none.
    pub async fn enable_auth(&self) -> Result<(), Error> {
        self.send_expecting(&Call::with(Method::PUT, ENABLE), &[200]).await.map(drop)
    }

    /// Requires credentials of `root`.
    pub async fn disable_auth(&self) -> Result<(), Error> {
        self.send_expecting(&Call::with(Method::DELETE, ENABLE), &[200]).await.map(drop)
    }

    /// All users with their roles.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        Ok(self.send_for_json::<Users>(&Call::get(USERS), &[200]).await?.users)
    }

    /// Fails if one of the user's roles does not exist.
    pub async fn user(&self, user: &str) -> Result<User, Error> {
        self.send_for_json(&Call::get(resource_path(USERS, user)), &[200]).await
    }

    /// Fails if the user exists.
    pub async fn add_user(&self, new: &NewUser<'_>) -> Result<(), Error> {
        self.put_user(UserBody { password: Some(new.password), ..UserBody::of(new.user) }).await
    }

    /// Fails if the user does not exist, is granted a role that it has, or revoked one that it lacks.
    pub async fn change_user(&self, user: &str, change: &UserChange<'_>) -> Result<(), Error> {
        let mut body = UserBody::of(user);
        match *change {
            UserChange::Grant(roles) => body.grant = Some(roles),
            UserChange::Revoke(roles) => body.revoke = Some(roles),
            UserChange::Password(password) => body.password = Some(password),
        }
        self.put_user(body).await
    }

    /// `root` cannot be removed while auth is enabled.
    pub async fn remove_user(&self, user: &str) -> Result<(), Error> {
        self.send_expecting(&Call::with(Method::DELETE, resource_path(USERS, user)), &[200]).await.map(drop)
    }

    async fn put_user(&self, body: UserBody<'_>) -> Result<(), Error> {
        let secret = body.password.is_some();
        let text = serde_json::to_string(&body).map_err(|_| Error::Request("user is not text"))?;
        let mut call = Call::with(Method::PUT, resource_path(USERS, body.user));
        call.body = Some(Body { kind: JSON, text, secret });
        self.send_expecting(&call, &[200, 201]).await.map(drop)
    }

    /// All roles with their permissions.
    pub async fn roles(&self) -> Result<Vec<Role>, Error> {
        Ok(self.send_for_json::<Roles>(&Call::get(ROLES), &[200]).await?.roles)
    }

    /// One role with its permissions.
    pub async fn role(&self, role: &str) -> Result<Role, Error> {
        self.send_for_json(&Call::get(resource_path(ROLES, role)), &[200]).await
    }

    /// Creates a role without permissions.
    pub async fn add_role(&self, role: &str) -> Result<(), Error> {
        self.put_role(role, None, None).await
    }

    /// Adds permissions. Fails if the role has one of them.
    pub async fn grant_role(&self, role: &str, more: &Permissions) -> Result<(), Error> {
        self.put_role(role, Some(more), None).await
    }

    /// Takes permissions away. Fails if the role has none of them.
    pub async fn revoke_role(&self, role: &str, less: &Permissions) -> Result<(), Error> {
        self.put_role(role, None, Some(less)).await
    }

    /// Users keep the name of the removed role.
    pub async fn remove_role(&self, role: &str) -> Result<(), Error> {
        self.send_expecting(&Call::with(Method::DELETE, resource_path(ROLES, role)), &[200]).await.map(drop)
    }

    async fn put_role(
        &self,
        role: &str,
        grant: Option<&Permissions>,
        revoke: Option<&Permissions>,
    ) -> Result<(), Error> {
        let body = RoleBody { role, permissions: Permissions::default(), grant, revoke };
        let text = serde_json::to_string(&body).map_err(|_| Error::Request("role is not text"))?;
        let call = Call::with(Method::PUT, resource_path(ROLES, role)).json(text);
        self.send_expecting(&call, &[200, 201]).await.map(drop)
    }
}

impl<'a> UserBody<'a> {
    fn of(user: &'a str) -> UserBody<'a> {
        UserBody { user, password: None, grant: None, revoke: None }
    }
}

fn resource_path(list: &str, name: &str) -> String {
    format!("{list}/{}", escape::segment(name))
}
