import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;

/** What clients see when a broker ends, on request or without; each test has brokers of its own. */
final class Stopping extends JmsTest {
    @Test
    void a_broker_that_stops_ends_its_connections_and_itself() throws Exception {
        Broker broker = closeAfter(Broker.start());
        try (RawPeer idle = new RawPeer(broker.port()); RawPeer peer = new RawPeer(broker.port())) {
            idle.handshake();
            peer.connect(name());
            broker.terminate();
            peer.expectEnd();
            idle.expectEnd();
        }
        eventually("the process has ended", () -> !broker.isAlive());
    }

    @Test
    void a_client_without_failover_hears_of_the_stop() throws Exception {
        Broker broker = closeAfter(Broker.start());
        ActiveMQConnection connection = connectTo(broker.url());
        CountDownLatch heard = new CountDownLatch(1);
        connection.setExceptionListener(e -> heard.countDown());
        broker.terminate();
        check(heard.await(SOON, TimeUnit.MILLISECONDS), "nothing was heard");
        eventually("the process has ended", () -> !broker.isAlive());
    }

    @Test
    void a_client_with_failover_goes_to_the_next_broker() throws Exception {
        Broker first = closeAfter(Broker.start());
        Broker second = closeAfter(Broker.start());
        ActiveMQConnection connection = connectTo("failover:(" + first.url() + "," + second.url()
                + ")?randomize=false&initialReconnectDelay=10");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "on the first");
        equal("on the first", takeText(consumer));
        first.terminate();
        Session other = auto(connectTo(second.url()));
        send(other, queue(), "on the second");
        equal("on the second", takeText(consumer));
    }

    @Test
    void a_client_comes_back_to_a_broker_that_was_killed_and_started_again() throws Exception {
        Broker broker = closeAfter(Broker.start());
        ActiveMQConnection connection = connectTo("failover:(" + broker.url()
                + ")?initialReconnectDelay=10&maxReconnectDelay=50");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "before");
        equal("before", takeText(consumer));
        broker.kill();
        closeAfter(Broker.start(broker.ports()));
        send(session, queue(), "after");
        equal("after", takeText(consumer));
    }

    @Test
    void a_stopped_broker_frees_its_ports_for_the_next() throws Exception {
        Broker broker = closeAfter(Broker.start());
        connectTo(broker.url());
        broker.terminate();
        eventually("the process has ended", () -> !broker.isAlive());
        Broker next = closeAfter(Broker.start(broker.ports()));
        Session session = auto(connectTo(next.url()));
        send(session, queue(), "one");
        equal("one", takeText(session.createConsumer(queue())));
    }
}
