import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Brokers that share one store: one of them is master. */
final class Group implements AutoCloseable {
    private static final int TAKEOVER_SECONDS = 60;

    private final Path store;
    private final List<Broker> nodes = new ArrayList<>();

    private Group(Path store) {
        this.store = store;
    }

    /** Starts so many at once. */
    static Group start(int count) throws Exception {
        return start(count, store -> "");
    }

    /** The same with what is scheduled, which ActiveMQ keeps in a directory of its own. */
    static Group scheduling(int count) throws Exception {
        return start(count, store ->
                "schedulerSupport=\"true\" schedulerDirectory=\"" + store.resolve("scheduler") + "\"");
    }

    private static Group start(int count, Function<Path, String> attributes) throws Exception {
        Group group = new Group(Files.createTempDirectory("openwired-store"));
        for (int i = 0; i < count; i++) {
            group.nodes.add(Broker.member(group.store, attributes.apply(group.store)));
        }
        group.startAll();
        return group;
    }

    void startAll() throws Exception {
        for (Broker node : nodes) {
            node.launch();
        }
        awaitMaster();
    }

    void killAll() throws InterruptedException {
        for (Broker node : nodes) {
            node.destroy();
        }
        for (Broker node : nodes) {
            node.kill();
        }
    }

    /** Where clients find the master, whichever it is, without the scheme. */
    String urls() {
        return nodes.stream().map(Broker::url).collect(Collectors.joining(","));
    }

    /** The address of a client that comes back as fast as it can. */
    String failover(String options) {
        return "failover:(" + urls() + ")?randomize=false&initialReconnectDelay=10&maxReconnectDelay=10"
                + "&useExponentialBackOff=false" + (options.isEmpty() ? "" : "&" + options);
    }

    /** The one that serves; there must not be two. */
    Broker awaitMaster() throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(TAKEOVER_SECONDS);
        while (true) {
            List<Broker> masters = nodes.stream().filter(Broker::isServing).toList();
            if (masters.size() > 1) {
                throw new AssertionError(masters.size() + " masters at once");
            }
            if (masters.size() == 1) {
                return masters.get(0);
            }
            if (System.nanoTime() > end) {
                throw new AssertionError("no master after " + TAKEOVER_SECONDS + " s");
            }
            TimeUnit.MILLISECONDS.sleep(1);
        }
    }

    @Override
    public void close() throws Exception {
        for (Broker node : nodes) {
            node.destroy();
        }
        for (Broker node : nodes) {
            node.close();
        }
        if (!Boolean.getBoolean("keep")) {
            try (Stream<Path> files = Files.walk(store)) {
                for (Path path : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }
}
