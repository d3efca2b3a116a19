//! What becomes of lines when a connection ends.

use super::super::connection::{MOST_BYTES, MOST_LINES, Recent, TIMES};
use super::*;

const LONG: Duration = Duration::from_secs(60);

async fn listen() -> (TcpListener, Far) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = far(server.local_addr().unwrap().port());
    (server, far)
}

/// Breaks a connection, as a machine that has lost its memory does.
fn reset(socket: BufReader<TcpStream>) {
    socket.into_inner().set_zero_linger().unwrap();
}

async fn ended(connection: &Connection) {
    eventually("the end of the connection", || async { (!connection.is_open().await).then_some(()) }).await;
}

/// What a daemon gets, on a connection that it breaks when it has so many bytes.
async fn bytes_of(server: &TcpListener, count: usize) -> Vec<u8> {
    let accepted = tokio::time::timeout(Duration::from_secs(5), server.accept()).await.unwrap();
    let mut socket = BufReader::new(accepted.unwrap().0);
    let mut bytes = vec![0; count];
    socket.read_exact(&mut bytes).await.unwrap();
    reset(socket);
    bytes
}

/// As every relay does to a connection that is idle: it has read everything.
#[tokio::test]
async fn what_came_before_a_goodbye_is_not_written_again() {
    let (server, far) = listen().await;
    let connection = Connection::keeping(far, Recent { closed: Duration::ZERO, broken: LONG });
    for line in ["first\n", "second\n", "third\n"] {
        connection.send(vec![line.as_bytes().to_vec()]).await.unwrap();
        let (socket, came) = line_of(&server).await;
        assert_eq!(came, line, "and nothing before it");
        drop(socket);
        ended(&connection).await;
    }
    assert_eq!(connection.failures().await, (0, 0));
}

#[tokio::test]
async fn what_may_have_crossed_with_a_goodbye_is_written_again() {
    let (server, far) = listen().await;
    let connection = Connection::keeping(far, Recent { closed: LONG, broken: LONG });
    connection.send(vec![b"crossed\n".to_vec()]).await.unwrap();
    drop(line_of(&server).await);
    assert_eq!(line_of(&server).await.1, "crossed\n");
}

#[tokio::test]
async fn a_connection_that_breaks_has_lost_more_but_nothing_that_is_old() {
    for (broken, expected) in [(LONG, "before\n"), (Duration::ZERO, "after\n")] {
        let (server, far) = listen().await;
        let connection = Connection::keeping(far, Recent { closed: Duration::ZERO, broken });
        connection.send(vec![b"before\n".to_vec()]).await.unwrap();
        reset(line_of(&server).await.0);
        ended(&connection).await;
        connection.send(vec![b"after\n".to_vec()]).await.unwrap();
        assert_eq!(line_of(&server).await.1, expected, "{broken:?}");
    }
}

#[tokio::test]
async fn a_line_is_written_again_so_often_and_then_given_up() {
    let (server, far) = listen().await;
    let connection = Connection::keeping(far, Recent { closed: Duration::ZERO, broken: LONG });
    connection.send(vec![b"unlucky\n".to_vec()]).await.unwrap();
    for _ in 0..=TIMES {
        let (socket, line) = line_of(&server).await;
        assert_eq!(line, "unlucky\n");
        assert_eq!(connection.failures().await, (0, 0));
        reset(socket);
    }
    eventually("the line to be given up", || async { (connection.failures().await.1 == 1).then_some(()) })
        .await;
    connection.send(vec![b"lucky\n".to_vec()]).await.unwrap();
    assert_eq!(line_of(&server).await.1, "lucky\n");
}

#[tokio::test]
async fn of_many_lines_the_last_are_written_again() {
    const LARGE: usize = 100_000;
    let many = MOST_LINES + 200;
    let small: Vec<_> = (0..many).map(|n| format!("{n:07}\n").into_bytes()).collect();
    let large: Vec<_> = (0..12).map(|n| format!("{n:07}{}\n", "x".repeat(LARGE - 8)).into_bytes()).collect();
    for (lines, first) in [(small, 200), (large, 12 - MOST_BYTES / LARGE)] {
        let (server, far) = listen().await;
        let connection = Connection::keeping(far, Recent { closed: Duration::ZERO, broken: LONG });
        let all = lines.concat();
        let (sent, came) = tokio::join!(connection.send(lines.clone()), bytes_of(&server, all.len()));
        sent.unwrap();
        assert!(came == all);
        let kept = lines[first..].concat();
        let again = bytes_of(&server, kept.len()).await;
        assert_eq!(again[..7], kept[..7], "the first of those that are kept");
        assert!(again == kept);
    }
}

#[tokio::test]
async fn a_daemon_that_is_away_for_a_while_gets_the_last_lines_when_it_is_back() {
    let (server, far) = listen().await;
    let address = server.local_addr().unwrap();
    let connection = Connection::keeping(far, Recent { closed: Duration::ZERO, broken: LONG });
    connection.send(vec![b"kept\n".to_vec()]).await.unwrap();
    let (socket, _) = line_of(&server).await;
    drop(server);
    reset(socket);
    eventually("tries to come back", || async { (connection.failures().await.0 >= 3).then_some(()) }).await;
    let server = TcpListener::bind(address).await.unwrap();
    assert_eq!(line_of(&server).await.1, "kept\n", "nothing else was to be sent");
}
