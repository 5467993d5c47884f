//! Response bodies: complete, or the event stream of a watch.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use etcd_api::Event;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

pub fn complete(text: impl Into<Bytes>) -> ResponseBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Events as lines. Calls `on_drop` when dropped: the client disconnected or the watch ended.
pub struct Events<F: FnMut()> {
    events: mpsc::Receiver<Arc<Event>>,
    on_drop: F,
}

impl<F: FnMut() + Send + Unpin + 'static> Events<F> {
    pub fn body(events: mpsc::Receiver<Arc<Event>>, on_drop: F) -> ResponseBody {
        Self { events, on_drop }.boxed_unsync()
    }
}

impl<F: FnMut() + Unpin> Body for Events<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.events.poll_recv(context).map(|event| {
            event.map(|event| Ok(Frame::data(event.to_json_line(SystemTime::now().into()).into())))
        })
    }
}

impl<F: FnMut()> Drop for Events<F> {
    fn drop(&mut self) {
        (self.on_drop)();
    }
}
