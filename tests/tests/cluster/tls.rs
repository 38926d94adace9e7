//! A cluster that speaks TLS, with each other and with who has a certificate.

use streamkeeper_tests::certificates::Certificates;
use streamkeeper_tests::cluster::Cluster;
use streamkeeper_tests::command::streamkeeper;
use streamkeeper_tests::fleet::Fleet;

/// The nodes are found by what they tell to those who speak TLS, at the start and over a failover.
#[test]
fn failover() {
    let certificates = Certificates::new();
    let paths = [certificates.certificate(), certificates.key(), certificates.authority()];
    let [certificate, key, authority] = paths.each_ref().map(|path| path.to_str().unwrap());
    let cluster = Cluster::encrypted(&certificates);
    let ours = ["--tls-ca", authority, "--tls-cert", certificate, "--tls-key", key];
    let url = cluster.encrypted_url();
    let fleet = Fleet::on_cluster(&cluster).url(&url).with(&ours);
    let [a, b] = fleet.start_all(["a", "b"]);
    let mut streams = fleet.announce("s", 10);
    fleet.wait_owned(&streams);
    cluster.fail_over(cluster.slot(&fleet.keys().lbs()));
    streams.extend(fleet.announce("after", 10));
    fleet.wait_owned(&streams);
    a.kill();
    fleet.wait_owned_by(&streams, &[&b]);

    let status = ["status", "--redis", &url, "--service", "svc"];
    let answer = streamkeeper(&[&status[..], &ours].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for (missing, why) in [(&ours[2..], "UnknownIssuer"), (&ours[..2], "ertificate")] {
        let answer = streamkeeper(&[&status[..], missing].concat());
        assert!(answer.code == Some(1) && answer.errors.contains(why), "{missing:?}: {answer:?}");
    }
    fleet.conclude_with(&streams);
}
