//! Servers that speak in bytes: everything below, beside and before TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::support::PATIENCE;

/// Listens on a free port of this machine and gives each connection to `script` until the test ends.
pub(crate) fn server(script: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let _ = stream.set_read_timeout(Some(PATIENCE));
            script(stream);
        }
    });
    port
}

/// Reads one TLS record, the ClientHello; then says `answer` and closes in good order.
pub(crate) fn answers_hello(answer: &'static [u8]) -> u16 {
    server(move |mut stream| {
        read_record(&mut stream);
        let _ = stream.write_all(answer);
        let _ = stream.shutdown(Shutdown::Write);
        // A socket closed with unread bytes would send a reset after the answer.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// One whole TLS record: five bytes of header, the last two its length.
pub(crate) fn read_record(stream: &mut TcpStream) {
    let mut header = [0; 5];
    if stream.read_exact(&mut header).is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        let _ = stream.read_exact(&mut body);
    }
}
