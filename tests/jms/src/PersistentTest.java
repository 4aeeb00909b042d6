import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQQueue;

/** A test with a persistent broker of its own, which it can end and start again. */
abstract class PersistentTest extends JmsTest {
    static final ActiveMQQueue DEAD_LETTERS = new ActiveMQQueue("ActiveMQ.DLQ");
    /** A failover address tries so often that a restart is not seen by the clock. */
    static final String RECONNECTING = "initialReconnectDelay=10&maxReconnectDelay=50";

    private Broker broker;

    /** Starts its broker with further attributes of the store and further policy entries. */
    final void start(String attributes, String policies) throws Exception {
        broker = closeAfter(Broker.persistent(attributes, policies));
    }

    @Override
    final Broker broker() throws Exception {
        if (broker == null) {
            start("", "");
        }
        return broker;
    }

    /** Ends the broker without warning and starts it again. */
    final void crash() throws Exception {
        broker().kill();
        broker().startAgain();
    }

    /**
     * Waits until what went before on this connection is stored, be it acknowledgements that nobody
     * answers: the broker takes commands in order and answers this send when it is stored.
     */
    final void stored(ActiveMQConnection connection) throws Exception {
        send(auto(connection), queue("stored"), "behind all that went before");
    }

    final ActiveMQConnection identified() throws Exception {
        return identified("");
    }

    /** A started connection with a client id, as a durable subscriber needs it. */
    final ActiveMQConnection identified(String suffix) throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name() + suffix);
        connection.start();
        return connection;
    }

    static MessageConsumer subscribe(Session session, Topic topic, String subscription) throws Exception {
        return session.createDurableSubscriber(topic, subscription);
    }

    /** Makes a durable subscription and leaves it alone. */
    final void subscribeAndLeave(Topic topic, String subscription, String selector, boolean noLocal)
            throws Exception {
        ActiveMQConnection connection = identified();
        auto(connection).createDurableSubscriber(topic, subscription, selector, noLocal);
        connection.close();
    }

    final void subscribeAndLeave(Topic topic, String subscription) throws Exception {
        subscribeAndLeave(topic, subscription, null, false);
    }
}
