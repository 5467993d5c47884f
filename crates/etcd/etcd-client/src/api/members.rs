//! The members API.

use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::{Error, Reason};
use crate::escape;
use crate::transport::Call;

/// A member that has not started has no name and no client URLs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Lower-case hex without padding.
    pub id: String,
    /// `--name` of the member.
    #[serde(default)]
    pub name: String,
    /// Where other members reach it.
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as it advertises.
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Change<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
}

const PATH: &str = "/v2/members";
const NOT_FOUND: u16 = 404;

impl Client {
    /// All members, also those that have not started.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        Ok(self.send_for_json::<List>(&Call::get(PATH), &[200]).await?.members)
    }

    /// The cluster id as text, from `X-Etcd-Cluster-Id`.
    pub async fn cluster_id(&self) -> Result<String, Error> {
        let (_, reply) = self.send(&Call::get(PATH)).await?;
        let id = reply.headers.get("x-etcd-cluster-id").and_then(|value| value.to_str().ok());
        Ok(id.unwrap_or_default().to_owned())
    }

    /// `None` without a leader.
    pub async fn leader(&self) -> Result<Option<Member>, Error> {
        match self.send_for_json(&Call::get(format!("{PATH}/leader")), &[200]).await {
            Ok(member) => Ok(Some(member)),
            Err(Error::Unavailable { attempts })
                if attempts.iter().any(|one| matches!(one.reason, Reason::NoLeader { .. })) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds a member, which can then start. Returns it with its id.
    pub async fn add_member(&self, peer_urls: &[String]) -> Result<Member, Error> {
        let mut call = Call::with(Method::POST, PATH).json(change(peer_urls)?);
        call.repeatable = false;
        self.send_for_json(&call, &[201]).await
    }

    /// Replaces all peer URLs of a member; `id` as in [`Member`].
    pub async fn update_member(&self, id: &str, peer_urls: &[String]) -> Result<(), Error> {
        let path = format!("{PATH}/{}", escape::segment(id));
        let call = Call::with(Method::PUT, path).json(change(peer_urls)?);
        self.send_expecting(&call, &[204]).await.map(drop)
    }

    /// Succeeds if the member was removed before.
    pub async fn remove_member(&self, id: &str) -> Result<(), Error> {
        let call = Call::with(Method::DELETE, format!("{PATH}/{}", escape::segment(id)));
        self.send_expecting(&call, &[204, 410]).await.map(drop)
    }

    /// The client URLs of all members from etcd 0.4's API, for servers without `/v2/members`.
    pub async fn machines(&self) -> Result<Vec<String>, Error> {
        self.url_list("/v2/machines").await
    }

    /// [`Client::machines`] under the path that etcdctl uses.
    pub async fn peers(&self) -> Result<Vec<String>, Error> {
        self.url_list("/v2/peers").await
    }

    async fn url_list(&self, path: &str) -> Result<Vec<String>, Error> {
        let (endpoint, reply) = self.send_expecting(&Call::get(path), &[200]).await?;
        let text =
            std::str::from_utf8(&reply.body).map_err(|_| Error::Status { endpoint, status: NOT_FOUND })?;
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        Ok(urls.map(str::to_owned).collect())
    }
}

fn change(peer_urls: &[String]) -> Result<String, Error> {
    serde_json::to_string(&Change { peer_urls }).map_err(|_| Error::Request("peer URLs are not text"))
}
