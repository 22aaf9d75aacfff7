//! The tap over real sockets, between a scripted client and a scripted target.

use super::*;
use expect_test::expect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// A sink whose text can be awaited.
struct Screen(watch::Sender<String>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
        self.0.send_modify(|shown| shown.push_str(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tap with as many listeners as wanted, all with the same target.
struct Rig {
    tap: Tap,
    screen: watch::Receiver<String>,
    target: SocketAddr,
}

impl Rig {
    async fn start(listeners: usize, target: SocketAddr) -> Self {
        let (sender, screen) = watch::channel(String::new());
        let listens = vec!["0".to_owned(); listeners];
        let options = TapOptions::pair(listens, vec![target.to_string()]).unwrap();
        let tap = Tap::start(options, Screen(sender)).await.unwrap();
        Self {
            tap,
            screen,
            target,
        }
    }

    async fn wait_for(&mut self, text: &str) {
        let found = self.screen.wait_for(|shown| shown.contains(text)).await;
        assert!(found.is_ok(), "the screen closed before it showed {text:?}");
    }

    /// Stops the tap and returns all that was printed, with what differs between runs replaced.
    async fn finish(self) -> String {
        let addresses = self.tap.addresses.clone();
        self.tap.stop().await;
        let mut text = self.screen.borrow().clone();
        text = text.replace(&self.target.to_string(), "TARGET");
        for (index, address) in addresses.iter().enumerate() {
            let port = 9001 + index;
            text = text.replace(&address.to_string(), &format!("127.0.0.1:{port}"));
            text = text.replace(&format!("[{}", address.port()), &format!("[{port}"));
        }
        let mut masked = String::new();
        for line in text.split_inclusive('\n') {
            match line.rsplit_once(" (") {
                Some((before, after)) if after.ends_with(" ms)\n") => {
                    masked.push_str(before);
                    masked.push_str(" (N ms)\n");
                }
                _ => masked.push_str(line),
            }
        }
        masked
    }
}

/// Reads one message with a `Content-Length`, a chunked body, or none.
async fn read_message(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            let chunked = head.contains("transfer-encoding: chunked");
            if (chunked && body.ends_with("0\r\n\r\n")) || (!chunked && body.len() >= length) {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return String::from_utf8(bytes).unwrap();
        }
    }
}

/// A target that answers everything with the same bytes and reports what it was sent.
async fn target(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, received) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            sender.send(read_message(&mut stream).await).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, received)
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_message(&mut stream).await
}

const ORDER: &str = "POST /services/SimpleStockQuoteService HTTP/1.1\r\n\
    Host: sample.test:9001\r\nsimpleClientSession: 123\r\nSOAPAction: \"urn:placeOrder\"\r\n\
    Content-Type: text/xml\r\nContent-Length: 51\r\n\r\n\
    <a:b xmlns:a=\"u\"><c>1</c><d/><e>x &amp; y</e></a:b>";
const ACCEPTED: &str = "HTTP/1.1 202 Taken\r\nX-Backend: b1\r\nContent-Length: 0\r\n\r\n";
const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nX-A: 2\r\n\
    Content-Length: 13\r\n\r\n{\"a\":[1,2.0]}";

#[tokio::test]
async fn messages_are_forwarded_unchanged_and_printed() {
    let (address, mut received) = target(JSON).await;
    let rig = Rig::start(1, address).await;
    let answer = exchange(rig.tap.addresses[0], ORDER).await;
    assert_eq!(answer, JSON);
    assert_eq!(received.recv().await.unwrap(), ORDER);
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] → POST /services/SimpleStockQuoteService HTTP/1.1
            Host: sample.test:9001
            simpleClientSession: 123
            SOAPAction: "urn:placeOrder"
            Content-Type: text/xml
            Content-Length: 51

            <a:b xmlns:a="u">
              <c>1</c>
              <d/>
              <e>x &amp; y</e>
            </a:b>

        [9001 #1] ← HTTP/1.1 200 OK (N ms)
            Content-Type: application/json
            X-A: 1
            X-A: 2
            Content-Length: 13

            {
              "a": [
                1,
                2.0
              ]
            }

        [9001] → TARGET: 1 request, 2xx: 1
    "#]]
    .assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn each_listener_counts_for_itself() {
    let (address, _received) = target(ACCEPTED).await;
    let rig = Rig::start(3, address).await;
    let get = "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n";
    for index in [0, 1, 0] {
        assert_eq!(exchange(rig.tap.addresses[index], get).await, ACCEPTED);
    }
    assert_eq!(rig.tap.requests(), [2, 1, 0]);
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9002] listening on 127.0.0.1:9002, forwarding to TARGET
        [9003] listening on 127.0.0.1:9003, forwarding to TARGET
        [9001 #1] → GET /a?b=c HTTP/1.1
            Host: x

        [9001 #1] ← HTTP/1.1 202 Taken (N ms)
            X-Backend: b1
            Content-Length: 0

        [9002 #1] → GET /a?b=c HTTP/1.1
            Host: x

        [9002 #1] ← HTTP/1.1 202 Taken (N ms)
            X-Backend: b1
            Content-Length: 0

        [9001 #2] → GET /a?b=c HTTP/1.1
            Host: x

        [9001 #2] ← HTTP/1.1 202 Taken (N ms)
            X-Backend: b1
            Content-Length: 0

        [9001] → TARGET: 2 requests, 2xx: 2
        [9002] → TARGET: 1 request, 2xx: 1
        [9003] → TARGET: 0 requests
    "#]]
    .assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn connections_are_kept_and_header_names_shown_as_sent() {
    let (address, mut received) = target(ACCEPTED).await;
    let rig = Rig::start(1, address).await;
    let mut stream = TcpStream::connect(rig.tap.addresses[0]).await.unwrap();
    for name in ["X-ONE", "x-One", "X-one"] {
        let request =
            format!("PUT / HTTP/1.1\r\nHost: x\r\n{name}: 1\r\nContent-Length: 2\r\n\r\nhi");
        // In two parts, so that the body is read apart from the head.
        let (head, body) = request.split_at(request.len() - 1);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(read_message(&mut stream).await, ACCEPTED);
        assert_eq!(received.recv().await.unwrap(), request);
    }
    let shown = rig.finish().await;
    for name in ["X-ONE: 1", "x-One: 1", "X-one: 1"] {
        assert!(shown.contains(name), "{name} is missing in {shown}");
    }
}

#[tokio::test]
async fn an_unreachable_target_is_a_502() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let rig = Rig::start(1, address).await;
    let answer = exchange(rig.tap.addresses[0], ORDER).await;
    let answer = answer.replace(&address.to_string(), "TARGET");
    expect![[r#"
        HTTP/1.1 502 Bad Gateway
        content-type: text/plain; charset=UTF-8
        content-length: 76

        myelin tap: cannot reach TARGET: Connection refused (os error 111)
    "#]]
    .assert_eq(&answer.replace("\r\n", "\n"));
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] → POST /services/SimpleStockQuoteService HTTP/1.1
            Host: sample.test:9001
            simpleClientSession: 123
            SOAPAction: "urn:placeOrder"
            Content-Type: text/xml
            Content-Length: 51

            <a:b xmlns:a="u">
              <c>1</c>
              <d/>
              <e>x &amp; y</e>
            </a:b>

        [9001 #1] ✗ 502 Bad Gateway: cannot reach TARGET: Connection refused (os error 111)

        [9001] → TARGET: 1 request, without a response: 1
    "#]]
    .assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn a_target_that_hangs_up_is_a_502() {
    let (address, _received) = target("").await;
    let rig = Rig::start(1, address).await;
    let answer = exchange(rig.tap.addresses[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
        "{answer}"
    );
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] → GET / HTTP/1.1
            Host: x

        [9001 #1] ✗ 502 Bad Gateway: no response from TARGET: connection closed before message completed

        [9001] → TARGET: 1 request, without a response: 1
    "#]].assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn large_bodies_stream_and_are_printed_in_part() {
    const CHUNK: usize = 100_000;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::start(1, socket.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(rig.tap.addresses[0]).await.unwrap();
    client
        .write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let (mut server, _) = socket.accept().await.unwrap();
    read_message(&mut server).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", "x".repeat(CHUNK));
    server.write_all(head.as_bytes()).await.unwrap();
    server.write_all(chunk.as_bytes()).await.unwrap();
    // Both must happen although the response is not over.
    let mut passed = 0;
    while passed < CHUNK {
        let mut buffer = vec![0; 65536];
        let count = client.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0);
        passed += buffer[..count].iter().filter(|byte| **byte == b'x').count();
    }
    rig.wait_for("bytes are shown").await;
    server.write_all(b"0\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        assert_ne!(client.read_buf(&mut rest).await.unwrap(), 0);
    }
    let shown = rig.finish().await;
    let shown = shown.replace(&"x".repeat(printer::MAX_SHOWN), "x…x");
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] → GET /stream HTTP/1.1
            Host: x

        [9001 #1] ← HTTP/1.1 200 OK (N ms)
            Transfer-Encoding: chunked

            x…x
            … only the first 65536 bytes are shown

        [9001] → TARGET: 1 request, 2xx: 1
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn clients_that_leave_and_bodies_that_break_off_are_noted() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rig = Rig::start(1, socket.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(rig.tap.addresses[0]).await.unwrap();
    let get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(get).await.unwrap();
    let (mut server, _) = socket.accept().await.unwrap();
    read_message(&mut server).await;
    drop(client);
    rig.wait_for("✗").await;

    let mut client = TcpStream::connect(rig.tap.addresses[0]).await.unwrap();
    client.write_all(get).await.unwrap();
    let (mut server, _) = socket.accept().await.unwrap();
    read_message(&mut server).await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123")
        .await
        .unwrap();
    drop(server);
    read_message(&mut client).await;
    rig.wait_for("…").await;
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] → GET / HTTP/1.1
            Host: x

        [9001 #1] ✗ no response: the client went away or the tap was stopped

        [9001 #2] → GET / HTTP/1.1
            Host: x

        [9001 #2] ← HTTP/1.1 200 OK (N ms)
            Content-Length: 9

            123
            … broken off after 3 bytes: error reading a body from connection

        [9001] → TARGET: 2 requests, 2xx: 1, without a response: 1
    "#]]
    .assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn stopping_ends_open_exchanges_before_the_summary() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::start(1, socket.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(rig.tap.addresses[0]).await.unwrap();
    client
        .write_all(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n123")
        .await
        .unwrap();
    let (mut server, _) = socket.accept().await.unwrap();
    // The head alone; the rest of the body never comes.
    server.read_u8().await.unwrap();
    expect![[r#"
        [9001] listening on 127.0.0.1:9001, forwarding to TARGET
        [9001 #1] ✗ no response: the client went away or the tap was stopped

        [9001 #1] → POST / HTTP/1.1
            Content-Length: 9

            123
            … cut off after 3 bytes

        [9001] → TARGET: 1 request, without a response: 1
    "#]]
    .assert_eq(&rig.finish().await);
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_told_apart() {
    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let occupied = occupied.local_addr().unwrap().to_string();
    let start = async |listens: &[&str], targets: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let tap = match TapOptions::pair(owned(listens), owned(targets)) {
            Ok(options) => Tap::start(options, io::sink()).await,
            Err(error) => Err(error),
        };
        tap.unwrap_err().to_string()
    };
    assert_eq!(
        start(&["0", "0", "0"], &["a:1", "b:2"]).await,
        "3 listeners but 2 targets: give --target once, or once for each --listen"
    );
    for address in [occupied.as_str(), "nonsense"] {
        let expected = format!("cannot listen on `{address}`");
        assert_eq!(start(&[address], &["a:1"]).await, expected);
    }
    for (target, reason) in [
        ("https://a:1", "only plain HTTP can be watched"),
        ("a:99999", "the port must be a number up to 65535"),
        ("9000", "write HOST:PORT"),
        ("", "write HOST:PORT"),
        ("u@a:1", "write HOST:PORT"),
        ("http://a:1/path", "write HOST:PORT"),
    ] {
        let expected = format!("`{target}` is not a target: {reason}");
        assert_eq!(start(&["0"], &[target]).await, expected);
    }
    assert_eq!(parse_target("http://localhost/").unwrap(), "localhost:80");
    assert_eq!(parse_target("[::1]:9000").unwrap(), "[::1]:9000");
}

#[test]
fn the_command_line_pairs_listeners_and_targets() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: TapArgs,
    }
    <Cli as clap::CommandFactory>::command().debug_assert();
    let parse = |line: &str| {
        let args = <Cli as clap::Parser>::parse_from(line.split(' ')).args;
        TapOptions::pair(args.listen, args.target).unwrap().routes
    };
    let routes = parse("tap --listen 9001 --target a:1 --listen h:9002 --target b:2");
    let route = |listen: &str, target: &str| Route {
        listen: listen.to_owned(),
        target: target.to_owned(),
    };
    assert_eq!(routes, [route("9001", "a:1"), route("h:9002", "b:2")]);
    let routes = parse("tap --listen 9001 --listen 9002 --target a:1");
    assert_eq!(routes, [route("9001", "a:1"), route("9002", "a:1")]);
}
