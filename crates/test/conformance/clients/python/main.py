"""python-etcd's main calls against one member: main.py HOST PORT. Exits 1 at the first that is not as documented."""

import sys
import threading

import etcd


def same(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r} instead of {wanted!r}")


def raises(what, kind, call):
    try:
        call()
    except kind:
        return
    raise SystemExit(f"{what}: no {kind.__name__}")


def keys(client):
    first = client.write("/py/a", "1")
    same("action", first.action, "set")
    same("new", first.newKey, True)
    same("read", client.read("/py/a").value, "1")
    same("quorum read", client.read("/py/a", quorum=True).value, "1")
    same("set", client.set("/py/a", "2").value, "2")
    same("previous", client.write("/py/a", "3")._prev_node.value, "2")
    same("in", "/py/a" in client, True)
    same("not in", "/py/none" in client, False)
    raises("missing", etcd.EtcdKeyNotFound, lambda: client.read("/py/none"))
    raises("below a file", etcd.EtcdNotDir, lambda: client.write("/py/a/b", "1"))
    raises("root", etcd.EtcdRootReadOnly, lambda: client.write("/", "1"))
    raises("create twice", etcd.EtcdAlreadyExist, lambda: client.write("/py/a", "1", prevExist=False))


def swaps(client):
    client.write("/py/s", "old")
    same("test_and_set", client.test_and_set("/py/s", "new", "old").value, "new")
    raises("wrong value", etcd.EtcdCompareFailed, lambda: client.test_and_set("/py/s", "x", "old"))
    now = client.read("/py/s")
    now.value = "newer"
    same("update", client.update(now).value, "newer")
    raises("delete wrong", etcd.EtcdCompareFailed, lambda: client.delete("/py/s", prevValue="x"))
    same("delete", client.delete("/py/s", prevValue="newer").action, "compareAndDelete")


def dirs(client):
    client.write("/py/d", None, dir=True)
    raises("file over dir", etcd.EtcdNotFile, lambda: client.write("/py/d", "x"))
    client.write("/py/d/x/y", "1")
    raises("not empty", etcd.EtcdDirNotEmpty, lambda: client.delete("/py/d", dir=True))
    listing = client.read("/py/d", recursive=True, sorted=True)
    same("leaves", [leaf.key for leaf in listing.leaves], ["/py/d/x/y"])
    queue = [client.write("/py/q", job, append=True).key for job in "abc"]
    same("in order", queue, sorted(queue))
    same("jobs", [leaf.value for leaf in client.read("/py/q", sorted=True).leaves], ["a", "b", "c"])


def times(client):
    same("ttl", client.write("/py/t", "1", ttl=60).ttl, 60)
    same("refreshed", client.refresh("/py/t", ttl=90).ttl, 90)
    same("kept", client.read("/py/t").value, "1")


def watches(client):
    start = client.write("/py/w", "1")
    same("from history", client.watch("/py/w", index=start.etcd_index).value, "1")
    seen = []
    ready = threading.Event()

    def look():
        ready.set()
        seen.append(client.watch("/py/w", index=start.etcd_index + 1, timeout=10).value)

    thread = threading.Thread(target=look)
    thread.start()
    ready.wait()
    client.write("/py/w", "2")
    thread.join()
    same("watched", seen, ["2"])


def cluster(client):
    same("machines", bool(client.machines), True)
    same("leader", client.leader["clientURLs"] != [], True)
    same("members", len(client.members) >= 1, True)
    same("stats", "name" in client.stats, True)
    same("store stats", "setsSuccess" in client.store_stats, True)


def lock(client):
    one = etcd.Lock(client, "py-lock")
    same("acquired", one.acquire(blocking=True, lock_ttl=30), True)
    two = etcd.Lock(client, "py-lock")
    same("acquired twice", two.acquire(blocking=False), False)
    one.release()


def main():
    client = etcd.Client(host=sys.argv[1], port=int(sys.argv[2]), allow_reconnect=True)
    for part in (keys, swaps, dirs, times, watches, cluster, lock):
        part(client)
        print(part.__name__)
    client.delete("/py", recursive=True)


main()
