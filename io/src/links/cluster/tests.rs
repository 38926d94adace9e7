//! The connector among nodes that refuse, hang, know nothing, or know better.

use std::collections::BTreeMap;

use futures::FutureExt;
use streamkeeper_core::trouble::TroubleKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// What stands at a port.
#[derive(Clone)]
enum Node {
    Refuses,
    /// Takes connections and answers nothing.
    Hangs,
    /// Takes a connection only after ten seconds.
    Hesitates,
    /// Tells that the node at this port serves all slots but 0.
    Tells(u16),
    /// Answers this to `CLUSTER SLOTS`.
    Answers(&'static str),
}

/// Nodes by their ports, and which were dialled, in order.
struct Net {
    nodes: Mutex<BTreeMap<u16, Node>>,
    dialled: Mutex<Vec<u16>>,
    clock: Clock,
}

impl Net {
    fn with(nodes: impl IntoIterator<Item = (u16, Node)>) -> Arc<Net> {
        let nodes = Mutex::new(nodes.into_iter().collect());
        Arc::new(Net { nodes, dialled: Mutex::default(), clock: Clock::tokio() })
    }

    fn put(&self, port: u16, node: Node) {
        self.nodes.lock().unwrap().insert(port, node);
    }

    /// A connector that was given these nodes.
    fn cluster(self: &Arc<Net>, seeds: impl IntoIterator<Item = u16>) -> Cluster {
        let login = Login::default();
        Cluster::new(self.clone(), seeds.into_iter().map(node).collect(), login, "foo")
    }

    /// Which were dialled since the last time.
    fn dialled(&self) -> Vec<u16> {
        std::mem::take(&mut self.dialled.lock().unwrap())
    }
}

impl Dial for Net {
    fn dial(&self, address: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let Address::Tcp { port, .. } = address else { panic!("{address}") };
        self.dialled.lock().unwrap().push(*port);
        let node = self.nodes.lock().unwrap().get(port).cloned().unwrap_or(Node::Refuses);
        let answer = match node {
            Node::Refuses => {
                let refused = io::Error::new(io::ErrorKind::ConnectionRefused, format!("{address}: refused"));
                return Box::pin(async { Err(refused) });
            }
            Node::Hesitates => {
                return Box::pin(async {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    Ok(Box::new(duplex(1).0) as Box<dyn ByteStream>)
                });
            }
            Node::Hangs => None,
            Node::Tells(port) => Some(format!("*1\r\n*3\r\n:1\r\n:16383\r\n*2\r\n$1\r\nh\r\n:{port}\r\n")),
            Node::Answers(answer) => Some(answer.to_owned()),
        };
        let (ours, theirs) = duplex(4_096);
        tokio::spawn(serve(theirs, answer));
        Box::pin(async { Ok(Box::new(ours) as Box<dyn ByteStream>) })
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

/// Answers `CLUSTER SLOTS` so, and everything else with OK; nothing at all without an answer.
async fn serve(mut bytes: DuplexStream, answer: Option<String>) {
    let mut said = String::new();
    let mut buffer = [0; 1_024];
    while let Ok(count @ 1..) = bytes.read(&mut buffer).await {
        said.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        // Our commands come whole.
        for command in said.split_inclusive("*").filter(|command| command.contains('$')) {
            let Some(answer) = &answer else { continue };
            let answer = if command.contains("SLOTS") { answer } else { "+OK\r\n" };
            if bytes.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        said.clear();
    }
}

fn node(port: u16) -> Address {
    Address::Tcp { host: "h".to_owned(), port, tls: false }
}

async fn open(cluster: &Cluster) -> io::Result<()> {
    cluster.open(Link::Commands).await.map(drop)
}

async fn trouble(cluster: &Cluster) -> Trouble {
    open(cluster).await.unwrap_err().downcast::<Trouble>().unwrap()
}

fn moved(text: &str) -> Trouble {
    Trouble::from_reply("MOVED", text)
}

#[tokio::test(start_paused = true)]
async fn any_node_that_answers_tells_the_way() {
    let net = Net::with([(1, Node::Refuses), (2, Node::Hangs), (3, Node::Tells(4)), (4, Node::Tells(4))]);
    let cluster = net.cluster([1, 2, 3]);
    let begun = net.clock.now();
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [1, 2, 3, 4]);
    assert!(net.clock.now().since(begun) < Duration::from_secs(1), "the one that hangs is not waited for");
    // What is opened at the same time does not ask again.
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [4]);
}

#[tokio::test(start_paused = true)]
async fn those_who_open_at_the_same_time_ask_once() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Tells(2))]);
    let cluster = net.cluster([1]);
    let (a, b, c) = futures::join!(open(&cluster), open(&cluster), open(&cluster));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(net.dialled(), [1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn moved_is_followed_at_once_and_told_to_all() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Tells(2)), (3, Node::Tells(3))]);
    let cluster = net.cluster([1]);
    let early = cluster.moved();
    open(&cluster).await.unwrap();
    let (one, other) = (cluster.moved(), cluster.moved());
    cluster.wrong_server(Link::Commands, &moved("1 h:3"));
    cluster.wrong_server(Link::Commands, &moved("12182 h:2"));
    let unmoved = cluster.moved();
    assert!(early.now_or_never().is_none(), "the first node is no move, nor is a slot that is not ours");
    net.dialled();
    cluster.wrong_server(Link::Commands, &moved("12182 h:3"));
    assert!(one.now_or_never().is_some() && other.now_or_never().is_some() && unmoved.now_or_never().is_some());
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [3]);
    assert!(cluster.moved().now_or_never().is_none(), "who has been opened since is where it should be");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_or_demoted_is_asked_last() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Tells(2)), (3, Node::Tells(3))]);
    let cluster = net.cluster([1, 2, 3]);
    open(&cluster).await.unwrap();
    net.dialled();
    let moved = cluster.moved();
    net.put(2, Node::Refuses);
    net.put(1, Node::Tells(3));
    open(&cluster).await.unwrap_err();
    assert_eq!(net.dialled(), [2]);
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [3, 3]);
    assert!(moved.now_or_never().is_some());
    // A replica: whoever knows the primary is asked.
    net.put(1, Node::Tells(1));
    net.put(2, Node::Tells(1));
    cluster.wrong_server(Link::Commands, &Trouble::from_reply("READONLY", "You can't write against a replica"));
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_does_not_keep_us() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Tells(2)), (3, Node::Tells(3))]);
    let cluster = net.cluster([1]);
    open(&cluster).await.unwrap();
    net.put(2, Node::Hangs);
    net.put(1, Node::Tells(3));
    net.dialled();
    // It takes the connection, and whoever waits for its answers gives up after a while.
    open(&cluster).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_dialling_leaves_a_doubt() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Tells(2))]);
    let cluster = net.cluster([1]);
    open(&cluster).await.unwrap();
    net.put(2, Node::Hesitates);
    net.put(1, Node::Tells(3));
    net.put(3, Node::Tells(3));
    net.dialled();
    let limit = Duration::from_millis(100);
    tokio::time::timeout(limit, open(&cluster)).await.unwrap_err();
    open(&cluster).await.unwrap();
    assert_eq!(net.dialled(), [2, 1, 3], "although the last answer is not old");
}

#[tokio::test(start_paused = true)]
async fn who_was_dialling_when_the_slot_moved_dials_again() {
    let net = Net::with([(1, Node::Tells(2)), (2, Node::Hesitates), (3, Node::Tells(3))]);
    let cluster = net.cluster([1]);
    let moving = async {
        tokio::time::sleep(Duration::from_millis(9_500)).await;
        cluster.wrong_server(Link::Commands, &moved("12182 h:3"));
    };
    let (opened, ()) = futures::join!(open(&cluster), moving);
    opened.unwrap();
    assert_eq!(net.dialled(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_knows_the_most_telling_answer_counts() {
    let disabled = Node::Answers("-ERR This instance has cluster support disabled\r\n");
    let refused = Node::Answers("-NOPERM User default has no permissions to run the 'cluster|slots' command\r\n");
    for (nodes, kind, text) in [
        (vec![Node::Refuses, Node::Refuses], TroubleKind::Connection, "redis://h:2: refused"),
        (vec![Node::Hangs, Node::Refuses], TroubleKind::Connection, "redis://h:1: no answer within"),
        (vec![Node::Refuses, disabled.clone()], TroubleKind::Unsupported, "redis://h:2"),
        (vec![disabled, Node::Refuses], TroubleKind::Unsupported, "give its URL as redis://"),
        (vec![refused, Node::Hangs], TroubleKind::Refused, "+cluster|slots"),
        (vec![Node::Answers("*0\r\n"), Node::Refuses], TroubleKind::NotNow, "no node serves slot 12182"),
        (vec![Node::Answers("+OK\r\n"), Node::Refuses], TroubleKind::Other, "makes no sense"),
    ] {
        let net = Net::with((1..).zip(nodes));
        let trouble = trouble(&net.cluster([1, 2])).await;
        assert_eq!(trouble.kind, kind, "{trouble}");
        assert!(trouble.message.contains(text), "{trouble}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told_as_what_it_is() {
    let net = Net::with([(1, Node::Answers("-ERR This instance has cluster support disabled\r\n"))]);
    let settings = redis::AsyncConnectionConfig::new();
    let cluster = net.cluster([1]);
    let shaken =
        crate::links::open::shake_hands(&cluster, Link::Commands, redis::ProtocolVersion::RESP2, settings, || ());
    let trouble = shaken.await.err().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Unsupported, "so that the start is given up: {trouble}");
    assert!(trouble.message.starts_with("the cluster at redis://h:1: "), "{trouble}");
}
