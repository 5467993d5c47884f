//! Who belongs to the cluster.

use hyper::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::{Error, Reason};
use crate::escape;
use crate::wire::Call;

/// One that was added but has not started yet has no name and no client URLs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Lower-case hex without padding, as servers write it.
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
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
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        Ok(self.ask_json::<List>(&Call::get(PATH), &[200]).await?.members)
    }

    /// The id of the cluster, as text: what `X-Etcd-Cluster-Id` says.
    pub async fn cluster_id(&self) -> Result<String, Error> {
        let (_, reply) = self.ask(&Call::get(PATH)).await?;
        let id = reply.headers.get("x-etcd-cluster-id").and_then(|value| value.to_str().ok());
        Ok(id.unwrap_or_default().to_owned())
    }

    /// `None` while none is elected.
    pub async fn leader(&self) -> Result<Option<Member>, Error> {
        match self.ask_json(&Call::get(format!("{PATH}/leader")), &[200]).await {
            Ok(member) => Ok(Some(member)),
            Err(Error::Unavailable { attempts })
                if attempts.iter().any(|one| matches!(one.reason, Reason::NoLeader { .. })) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub async fn add_member(&self, peer_urls: &[String]) -> Result<Member, Error> {
        let mut call = Call::with(Method::POST, PATH).json(change(peer_urls)?);
        call.repeatable = false;
        self.ask_json(&call, &[201]).await
    }

    pub async fn update_member(&self, id: &str, peer_urls: &[String]) -> Result<(), Error> {
        let path = format!("{PATH}/{}", escape::segment(id));
        let call = Call::with(Method::PUT, path).json(change(peer_urls)?);
        self.ask_for(&call, &[204]).await.map(drop)
    }

    /// Removing one that was removed before is no error.
    pub async fn remove_member(&self, id: &str) -> Result<(), Error> {
        let call = Call::with(Method::DELETE, format!("{PATH}/{}", escape::segment(id)));
        self.ask_for(&call, &[204, 410]).await.map(drop)
    }

    /// The client URLs of all members as etcd 0.4 gives them, for servers without `/v2/members`.
    pub async fn machines(&self) -> Result<Vec<String>, Error> {
        self.url_list("/v2/machines").await
    }

    /// As [`Client::machines`], by the name that etcdctl asks.
    pub async fn peers(&self) -> Result<Vec<String>, Error> {
        self.url_list("/v2/peers").await
    }

    async fn url_list(&self, path: &str) -> Result<Vec<String>, Error> {
        let (endpoint, reply) = self.ask_for(&Call::get(path), &[200]).await?;
        let text =
            std::str::from_utf8(&reply.body).map_err(|_| Error::Status { endpoint, status: NOT_FOUND })?;
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        Ok(urls.map(str::to_owned).collect())
    }
}

fn change(peer_urls: &[String]) -> Result<String, Error> {
    serde_json::to_string(&Change { peer_urls }).map_err(|_| Error::Request("peer URLs are not text"))
}
