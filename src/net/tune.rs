//! What every TCP socket is set to.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// How often a silent peer is asked before it counts as gone.
const QUESTIONS: u32 = 3;

/// No delay for small writes, and a peer that vanished is noticed: after `silence` the kernel asks
/// whether it is still there, and as long after that, or after bytes that nobody takes, the
/// connection is broken. Without the second limit, what is on its way when a network is cut would be
/// sent again for a quarter of an hour.
///
/// # Errors
/// The system's.
pub fn tune(tcp: &TcpStream, silence: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(silence)
        .with_interval(silence / QUESTIONS)
        .with_retries(QUESTIONS);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(silence * 2))
}
