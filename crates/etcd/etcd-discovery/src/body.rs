//! Bodies of answers: whole, or one event after the other for as long as a watch lasts.

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
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

pub fn whole(text: impl Into<Bytes>) -> AnswerBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Events as lines. When it is dropped, because the client left or it has ended, `gone` is called.
pub struct Events<F: FnMut()> {
    events: mpsc::Receiver<Arc<Event>>,
    gone: F,
}

impl<F: FnMut() + Send + Unpin + 'static> Events<F> {
    pub fn body(events: mpsc::Receiver<Arc<Event>>, gone: F) -> AnswerBody {
        Self { events, gone }.boxed_unsync()
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
        (self.gone)();
    }
}
