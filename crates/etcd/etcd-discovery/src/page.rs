//! The page at `/`, with usage instructions.

pub const HTML: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>etcd discovery</title></head><body>
<h1>etcd discovery</h1>
<p>Machines of a new cluster find each other through a token that they share.</p>
<p>A token for a cluster of three: <a href=\"/new?size=3\">/new?size=3</a>. Take a fresh one for every cluster.</p>
<p>Give its URL to every machine:</p>
<pre>#cloud-config
coreos:
  etcd:
    name: core-01
    discovery: THE URL</pre>
<p>The first machines that register, as many as the size says, are the cluster; later ones become its proxies.
Tokens that nobody registers with are forgotten after a week.</p>
</body></html>
";
