import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A broker process on free loopback ports with a directory of its own. Both brokers read the same
 * configuration file, so a test means the same thing for both.
 */
final class Broker implements AutoCloseable {
    /**
     * A connector without limits that matter, one with small limits, one that drops size prefixes: the
     * first three holes are their ports. The others are whether it is persistent, further policies,
     * further elements and further attributes.
     */
    private static final String CONFIGURATION = """
            <broker xmlns="http://activemq.apache.org/schema/core" brokerName="jms" persistent="%4$b"
                    useJmx="false" dataDirectory="${activemq.data}" %7$s>
              <destinationPolicy>
                <policyMap>
                  <policyEntries>
                    <policyEntry queue=">" maxPageSize="20000" maxBrowsePageSize="20000"/>
                    <policyEntry topic=">">
                      <pendingMessageLimitStrategy>
                        <constantPendingMessageLimitStrategy limit="1000"/>
                      </pendingMessageLimitStrategy>
                    </policyEntry>
                    <policyEntry topic="Slow.>">
                      <pendingMessageLimitStrategy>
                        <constantPendingMessageLimitStrategy limit="10"/>
                      </pendingMessageLimitStrategy>
                    </policyEntry>
                    <policyEntry queue="Prioritized.>" prioritizedMessages="true"/>
                    <policyEntry queue="Expiring.>" expireMessagesPeriod="500"/>
                    %5$s
                  </policyEntries>
                </policyMap>
              </destinationPolicy>
              %6$s
              <systemUsage>
                <systemUsage>
                  <memoryUsage><memoryUsage limit="%8$s"/></memoryUsage>
                  <storeUsage><storeUsage limit="2 gb"/></storeUsage>
                  <tempUsage><tempUsage limit="2 gb"/></tempUsage>
                </systemUsage>
              </systemUsage>
              <transportConnectors>
                <transportConnector name="openwire"
                  uri="tcp://127.0.0.1:%1$d?maximumConnections=3000&amp;wireFormat.maxFrameSize=104857600"/>
                <transportConnector name="small"
                  uri="tcp://127.0.0.1:%2$d?maximumConnections=3&amp;wireFormat.maxFrameSize=100000"/>
                <transportConnector name="bare"
                  uri="tcp://127.0.0.1:%3$d?wireFormat.sizePrefixDisabled=true"/>
              </transportConnectors>
            </broker>
            """;
    private static final String STORE = """
            <persistenceAdapter><kahaDB directory="${activemq.data}/kahadb" %s/></persistenceAdapter>""";
    private static final String SHARED_STORE = """
            <persistenceAdapter><kahaDB directory="%s" %s/></persistenceAdapter>""";
    private static final int START_SECONDS = 60;
    private static final int STOP_SECONDS = 30;
    /** How much of its log is shown when it does not start. */
    private static final int LOG_LINES = 20;

    private static Broker shared;
    /** The one of the test class that runs, with what it is configured. */
    private static Broker configured;
    private static Configuration configuration;

    private final Path directory;
    private final List<Integer> ports;
    private volatile Process process;

    private Broker(Path directory, List<Integer> ports) {
        this.directory = directory;
        this.ports = ports;
    }

    /** The broker that all tests share which need none of their own. */
    static synchronized Broker shared() throws Exception {
        if (shared == null) {
            shared = System.getProperty("url") == null ? start() : new Broker(null, List.of());
        }
        return shared;
    }

    /** Starts one more broker of the kind under test, on ports of its own. */
    static Broker start() throws Exception {
        return start(freePorts(3));
    }

    /** Starts a broker where another one has been, as after a restart of one without a store. */
    static Broker start(List<Integer> ports) throws Exception {
        return start(ports, Configuration.PLAIN);
    }

    /** Starts one that keeps its messages in its directory. */
    static Broker persistent() throws Exception {
        return persistent("", "");
    }

    /** The same with further attributes of the store and further policy entries. */
    static Broker persistent(String attributes, String policies) throws Exception {
        return start(freePorts(3), Configuration.PLAIN.stored(attributes).policies(policies));
    }

    /** Starts one that keeps its messages and sends some of them later. */
    static Broker scheduling() throws Exception {
        return start(freePorts(3), Configuration.PLAIN.stored("").attributes("schedulerSupport=\"true\""));
    }

    /** What a broker has beside what all have. */
    record Configuration(boolean persistent, String attributes, String policies, String elements, String memory) {
        static final Configuration PLAIN = new Configuration(false, "", "", "", "1 gb");

        Configuration stored(String store) {
            return new Configuration(true, attributes, policies, elements + STORE.formatted(store), memory);
        }

        Configuration attributes(String more) {
            return new Configuration(persistent, more, policies, elements, memory);
        }

        Configuration policies(String more) {
            return new Configuration(persistent, attributes, more, elements, memory);
        }

        Configuration elements(String more) {
            return new Configuration(persistent, attributes, policies, elements + more, memory);
        }

        /** How much memory all messages together may take. */
        Configuration memory(String limit) {
            return new Configuration(persistent, attributes, policies, elements, limit);
        }
    }

    /** The broker of a test class that needs a configuration of its own; the one before it is closed. */
    static synchronized Broker configured(Configuration wanted) throws Exception {
        if (configured == null || !wanted.equals(configuration) || !configured.isAlive()) {
            closeConfigured();
            configured = start(freePorts(3), wanted);
            configuration = wanted;
        }
        return configured;
    }

    static synchronized void closeConfigured() throws Exception {
        if (configured != null) {
            configured.close();
            configured = null;
        }
    }

    private static Broker start(List<Integer> ports, Configuration wanted) throws Exception {
        return launched(prepare(ports, text(ports, wanted)));
    }

    private static Broker launched(Broker broker) throws Exception {
        broker.launch();
        broker.awaitStart();
        return broker;
    }

    private static String text(List<Integer> ports, Configuration wanted) {
        return beans(CONFIGURATION.formatted(ports.get(0), ports.get(1), ports.get(2), wanted.persistent(),
                wanted.policies(), wanted.elements(), wanted.attributes(), wanted.memory()));
    }

    /** The text of a configuration file with this broker. */
    static String beans(String broker) {
        return """
                <beans xmlns="http://www.springframework.org/schema/beans"
                       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
                       xsi:schemaLocation="http://www.springframework.org/schema/beans
                         http://www.springframework.org/schema/beans/spring-beans.xsd
                         http://activemq.apache.org/schema/core
                         http://activemq.apache.org/schema/core/activemq-core.xsd">
                %s</beans>
                """.formatted(broker);
    }

    /** One of the brokers that share a store; it is not started yet. */
    static Broker member(Path store, String attributes) throws Exception {
        List<Integer> ports = freePorts(3);
        String elements = SHARED_STORE.formatted(store.resolve("kahadb"), "");
        return prepare(ports, text(ports, new Configuration(true, attributes, "", elements, "1 gb")));
    }

    /** Starts one from a file that somebody else wrote, but on a port of its own. */
    static Broker of(Path file) throws Exception {
        return of(file, "0.0.0.0:61616", "");
    }

    /** The same, of a file that listens at `address` and has a bridge to 61616, which becomes one to `peer`. */
    static Broker of(Path file, String address, String peer) throws Exception {
        List<Integer> ports = freePorts(1);
        String text = Files.readString(file).replace(address, "127.0.0.1:" + ports.get(0))
                .replace("tcp://localhost:61616", peer);
        if (!text.contains("useJmx=")) {
            // It has fixed ports, which others may have.
            text = text.replace("<broker ", "<broker useJmx=\"false\" ");
        }
        return launched(prepare(ports, text));
    }

    private static Broker prepare(List<Integer> ports, String configuration) throws Exception {
        Path directory = Files.createTempDirectory("openwired-jms");
        Files.writeString(directory.resolve("activemq.xml"), configuration);
        Broker broker = new Broker(directory, ports);
        Runtime.getRuntime().addShutdownHook(new Thread(broker::destroy));
        return broker;
    }

    /**
     * A node of the cluster in tests/config/cluster, with its users' files but for addresses and stores: the
     * six ports are those of all nodes. Started, but perhaps a slave, which opens no port.
     */
    static Broker node(int node, List<Integer> all, Path stores) throws Exception {
        Path from = Path.of("tests/config/cluster/mq" + node);
        Path directory = Files.createTempDirectory("openwired-node");
        for (String file : List.of("credentials.properties", "jetty-realm.properties", "jetty.xml")) {
            Files.copy(from.resolve(file), directory.resolve(file));
        }
        String text = Files.readString(from.resolve("activemq.xml")).replace("/usr/local/mqcluster", stores.toString());
        for (int each = 1; each <= 6; each++) {
            String port = ":" + (61615 + each);
            text = text.replace("172.18.0.116" + port, "127.0.0.1:" + all.get(each - 1))
                    .replace("0.0.0.0" + port, "127.0.0.1:" + all.get(each - 1));
        }
        Files.writeString(directory.resolve("activemq.xml"), text);
        Broker broker = new Broker(directory, List.of(all.get(node - 1)));
        broker.launch();
        Runtime.getRuntime().addShutdownHook(new Thread(broker::destroy));
        return broker;
    }

    /** Starts the process that was killed, which may come up as a slave. */
    void join() throws IOException {
        launch();
    }

    /** Whether clients can connect. */
    boolean serves() {
        return isAlive() && accepts(ports.get(0));
    }

    /** Starts the process that was stopped or killed, on the same ports and in the same directory. */
    void startAgain() throws Exception {
        launch();
        awaitStart();
    }

    /** Starts the process, and does not wait for anything. */
    void launch() throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command(directory.resolve("activemq.xml"), directory));
        builder.directory(directory.toFile());
        builder.redirectErrorStream(true);
        builder.redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()));
        process = builder.start();
    }

    /** Whether the tests run against ActiveMQ, which is up and at full speed only after seconds. */
    static boolean isActiveMq() {
        return System.getProperty("broker", "openwired").equals("activemq");
    }

    private static List<String> command(Path file, Path directory) {
        List<String> command = new ArrayList<>();
        String data = "-Dactivemq.data=" + directory.resolve("data");
        switch (System.getProperty("broker", "openwired")) {
            case "activemq" -> command.addAll(List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx2g", data,
                    "-Dactivemq.conf=" + directory, "-cp", System.getProperty("broker.classpath"),
                    "org.apache.activemq.console.command.ShellCommand", "start", "xbean:file:" + file));
            case "openwired" -> command.addAll(List.of(
                    System.getProperty("broker.binary"), "console", data, file.toString()));
            default -> throw new IllegalArgumentException("-Dbroker is openwired or activemq");
        }
        return command;
    }

    private void awaitStart() throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(START_SECONDS);
        for (int port : ports) {
            while (!accepts(port)) {
                if (!process.isAlive() || System.nanoTime() > end) {
                    List<String> lines = Files.readAllLines(log());
                    throw new IllegalStateException("the broker did not start:\n"
                            + String.join("\n", lines.subList(Math.max(0, lines.size() - LOG_LINES), lines.size())));
                }
                process.waitFor(5, TimeUnit.MILLISECONDS);
            }
        }
    }

    /** Whether clients can connect. */
    boolean isServing() {
        return process != null && process.isAlive() && accepts(ports.get(0));
    }

    private static boolean accepts(int port) {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1000);
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /** Ports that nobody listens on, all different. */
    static List<Integer> freePorts(int count) throws IOException {
        List<ServerSocket> held = new ArrayList<>();
        List<Integer> ports = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
            held.add(socket);
            ports.add(socket.getLocalPort());
        }
        for (ServerSocket socket : held) {
            socket.close();
        }
        return ports;
    }

    List<Integer> ports() {
        return ports;
    }

    /** Where clients connect that need nothing special. */
    String url() {
        return ports.isEmpty() ? System.getProperty("url") : "tcp://127.0.0.1:" + ports.get(0);
    }

    /** At most 3 connections, frames up to 100,000 bytes. */
    String smallUrl() {
        return own(1);
    }

    /** The connector that agrees to frames without a size before them. */
    String bareUrl() {
        return own(2);
    }

    private String own(int connector) {
        if (ports.isEmpty()) {
            throw new AssertionError("needs a broker with connectors of its own: run without -Durl");
        }
        return "tcp://127.0.0.1:" + ports.get(connector);
    }

    int port() {
        return java.net.URI.create(url()).getPort();
    }

    boolean isAlive() {
        return process == null || process.isAlive();
    }

    Path log() {
        return directory.resolve("log");
    }

    /** Asks the process to end, as an operator would. */
    void terminate() {
        process.destroy();
    }

    /** Asks the process to end and waits until it has. */
    void stop() throws InterruptedException {
        terminate();
        if (!process.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
            throw new AssertionError("the broker did not stop in " + STOP_SECONDS + " s");
        }
    }

    /** Ends the process without any warning. */
    void destroy() {
        if (process != null) {
            process.destroyForcibly();
        }
    }

    /** The same, and waits until it has ended. */
    void kill() throws InterruptedException {
        destroy();
        process.waitFor();
    }

    @Override
    public void close() throws Exception {
        if (process == null) {
            return;
        }
        process.destroy();
        if (!process.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
        }
        clear(directory);
    }

    /** Deletes a directory of a test, unless it is to be kept. */
    static void clear(Path directory) throws IOException {
        if (!Boolean.getBoolean("keep")) {
            try (Stream<Path> files = Files.walk(directory)) {
                for (Path path : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }
}
