import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ConnectionControl;
import org.apache.activemq.transport.DefaultTransportListener;
import org.apache.activemq.transport.failover.FailoverTransport;

/** Clients are told of the brokers that bridges go to: updateClusterClients and its relatives. */
final class ClusterClients extends JmsTest {
    private static final String CONFIGURATION = """
            <broker xmlns="http://activemq.apache.org/schema/core" brokerName="%s" persistent="false"
                    useJmx="false" dataDirectory="${activemq.data}">
              <networkConnectors>%s</networkConnectors>
              <transportConnectors>
                <transportConnector name="openwire" uri="tcp://0.0.0.0:61616" %s/>
              </transportConnectors>
            </broker>
            """;

    private Broker start(String name, String bridges, String attributes) throws Exception {
        Path file = Files.createTempFile("openwired-cluster", ".xml");
        closeAfter(() -> Files.deleteIfExists(file));
        Files.writeString(file, Broker.beans(CONFIGURATION.formatted(name, bridges, attributes)));
        return closeAfter(Broker.of(file));
    }

    /** A broker whose clients are told of others. */
    private Broker telling(String attributes) throws Exception {
        return start("first", "", "updateClusterClients=\"true\" " + attributes);
    }

    /** A broker with a bridge to another one and back. */
    private Broker joining(String name, Broker to) throws Exception {
        String bridge = "<networkConnector name=\"%s\" duplex=\"true\" uri=\"static:(%s)\"/>";
        return start(name, bridge.formatted("to-" + name, to.url()), "");
    }

    private ActiveMQConnection clientOf(Broker broker) throws Exception {
        return connectTo("failover:(" + broker.url() + ")?randomize=false&initialReconnectDelay=10"
                + "&maxReconnectDelay=100");
    }

    /** The lists that a client is told from now on. */
    private static BlockingQueue<String> told(ActiveMQConnection connection) {
        BlockingQueue<String> lists = new LinkedBlockingQueue<>();
        connection.addTransportListener(new DefaultTransportListener() {
            @Override
            public void onCommand(Object command) {
                if (command instanceof ConnectionControl control) {
                    lists.add(control.getConnectedBrokers());
                }
            }
        });
        return lists;
    }

    private static String next(BlockingQueue<String> told) throws Exception {
        String list = told.poll(SOON, TimeUnit.MILLISECONDS);
        check(list != null, "nothing was told");
        return list;
    }

    private static String connectedTo(ActiveMQConnection connection) {
        return String.valueOf(connection.getTransport().narrow(FailoverTransport.class).getConnectedTransportURI());
    }

    @Test(seconds = 120)
    void a_client_that_knew_one_broker_goes_on_at_a_peer_it_was_told_of() throws Exception {
        Broker first = telling("");
        ActiveMQConnection connection = clientOf(first);
        BlockingQueue<String> told = told(connection);
        Broker second = joining("second", first);
        equal(first.url() + "," + second.url(), next(told));
        Session session = auto(connection);
        first.kill();
        send(session, queue(), "at the peer");
        equal("at the peer", takeText(auto(connectTo(second.url())).createConsumer(queue())));
        equal(second.url(), connectedTo(connection));
    }

    @Test(seconds = 120)
    void a_client_is_told_who_has_gone_where_that_is_wanted() throws Exception {
        Broker first = telling("updateClusterClientsOnRemove=\"true\"");
        BlockingQueue<String> told = told(clientOf(first));
        Broker second = joining("second", first);
        equal(first.url() + "," + second.url(), next(told));
        second.kill();
        equal(first.url(), next(told));
    }

    @Test(seconds = 120)
    void a_client_is_told_only_of_brokers_whose_names_fit() throws Exception {
        Broker first = telling("updateClusterFilter=\"un,suit.*\"");
        BlockingQueue<String> told = told(clientOf(first));
        Broker unfit = joining("unsuitable", first);
        Broker fit = joining("suitable", first);
        List<String> lists = new ArrayList<>(List.of(next(told)));
        while (!lists.get(lists.size() - 1).contains(fit.url())) {
            lists.add(next(told));
        }
        for (String list : lists) {
            check(!list.contains(unfit.url()), list);
        }
        equal(first.url() + "," + fit.url(), lists.get(lists.size() - 1));
    }

    @Test(seconds = 120)
    void clients_spread_when_a_broker_joins_where_that_is_wanted() throws Exception {
        Broker first = telling("rebalanceClusterClients=\"true\"");
        List<ActiveMQConnection> clients = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            clients.add(clientOf(first));
        }
        Broker second = joining("second", first);
        eventually("clients spread", () ->
                clients.stream().filter(client -> connectedTo(client).equals(second.url())).count() == 5);
        for (ActiveMQConnection client : clients) {
            Session session = auto(client);
            send(session, queue(), "still served");
        }
    }
}
