//! The port: takes connections in, as many as there may be.
//!
//! Not what becomes of them: that is [`crate::session`]'s.

use std::sync::Arc;
use std::time::Duration;

use ganger_rt::{Listener, Stream};

use crate::connections::Connections;
use crate::handshake;
use crate::session::{self, Door};

/// How long the port rests when the system has no descriptor left: connections that end meanwhile
/// give some back, and trying at once would only burn the processor.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(100);

/// Takes in whoever connects, for as long as it is polled.
///
/// While many strangers are in their handshakes, further ones wait in the system's queue, in the
/// order in which they came: after a restart thousands of clients return at once, and all get in.
/// Beyond the most connections a peer is refused: `take_in` has the words.
pub(crate) async fn listen(
    connections: Connections,
    listener: Listener,
    take_in: impl Fn(Stream) + Send,
) {
    let mut resting = false;
    loop {
        connections.stranger_welcome().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                resting = false;
                take_in(stream);
            }
            Err(error) => {
                if !resting {
                    log::error!(error:%; "cannot accept connections, trying again");
                    resting = true;
                }
                ganger_rt::sleep(OUT_OF_FILES_PAUSE).await;
            }
        }
    }
}

/// Serves `stream`, or refuses it.
pub(crate) fn take_in(door: &Arc<Door>, stream: Stream) {
    match door.connections.admit() {
        Some(place) => {
            let stranger = door.connections.stranger();
            let door = Arc::clone(door);
            let connections = door.connections.clone();
            connections.spawn(place, |place| session::serve(door, stream, place, stranger));
        }
        None => refuse(door, &stream),
    }
}

/// A first write fits any socket, so this waits for nobody.
fn refuse(door: &Arc<Door>, stream: &Stream) {
    let limit = door.connections.limit();
    if door.refusals.allows() {
        log::warn!(peer:% = stream.peer(), limit; "too many connections: refused");
    }
    handshake::refuse_at_once(stream, format!("the broker has its most of {limit} connections"));
}
