import java.util.Arrays;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTopic;

/** What waits for a topic consumer or a durable subscriber and is more than memory may hold. */
final class Spooling extends ConfiguredTest {
    private static final int MESSAGES = 2000;
    private static final int BYTES = 20_000;

    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.stored("").memory("10 mb").policies("<policyEntry topic=\"Spooled.>\"/>");
    }

    private ActiveMQTopic t() {
        return new ActiveMQTopic("Spooled." + name());
    }

    private void publish(int from, int count) throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t());
        producer.setDeliveryMode(DeliveryMode.NON_PERSISTENT);
        for (int n = from; n < from + count; n++) {
            producer.send(numbered(session, n));
        }
        settle(session);
    }

    private static BytesMessage numbered(Session session, int n) throws Exception {
        BytesMessage message = session.createBytesMessage();
        byte[] body = new byte[BYTES];
        Arrays.fill(body, (byte) n);
        message.writeBytes(body);
        message.setIntProperty("n", n);
        return message;
    }

    private void takes(MessageConsumer consumer, int from, int count) throws Exception {
        for (int n = from; n < from + count; n++) {
            BytesMessage message = (BytesMessage) take(consumer);
            equal(n, message.getIntProperty("n"));
            byte[] body = new byte[BYTES];
            equal(BYTES, message.readBytes(body));
            equal((byte) n, body[0]);
            equal((byte) n, body[BYTES - 1]);
        }
    }

    private MessageConsumer lagging() throws Exception {
        return auto(connect()).createConsumer(option(t(), "consumer.prefetchSize=1"));
    }

    @Test
    void a_consumer_that_lags_holds_nobody_and_gets_all_in_order() throws Exception {
        MessageConsumer lagging = lagging();
        publish(0, MESSAGES);
        takes(lagging, 0, MESSAGES);
        publish(MESSAGES, 10);
        takes(lagging, MESSAGES, 10);
    }

    @Test
    void what_comes_while_it_is_read_comes_behind() throws Exception {
        MessageConsumer lagging = lagging();
        publish(0, MESSAGES);
        takes(lagging, 0, MESSAGES / 2);
        publish(MESSAGES, MESSAGES / 2);
        takes(lagging, MESSAGES / 2, MESSAGES);
    }

    @Test
    void one_that_leaves_gives_back_what_waited_for_it() throws Exception {
        MessageConsumer gone = lagging();
        MessageConsumer other = lagging();
        publish(0, MESSAGES);
        gone.close();
        takes(other, 0, MESSAGES);
    }

    private MessageConsumer durable(String client) throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(client + "." + name());
        connection.start();
        return auto(connection).createDurableSubscriber(option(t(), "consumer.prefetchSize=1"), "s");
    }

    @Test
    void a_durable_subscriber_that_lags_or_is_away_holds_nobody_and_gets_all_in_order() throws Exception {
        ActiveMQConnection away = unstarted(url(""));
        away.setClientID("away." + name());
        away.start();
        auto(away).createDurableSubscriber(option(t(), "consumer.prefetchSize=1"), "s");
        away.close();
        MessageConsumer lagging = durable("lagging");
        publish(0, MESSAGES);
        takes(lagging, 0, MESSAGES / 2);
        publish(MESSAGES, 10);
        takes(lagging, MESSAGES / 2, MESSAGES / 2 + 10);
        takes(durable("away"), 0, MESSAGES + 10);
    }

    /** ActiveMQ keeps those that are persistent in order, and those that are not, but not all of them. */
    @Test
    void what_waits_in_part_in_the_store_comes_in_order() throws Exception {
        MessageConsumer lagging = durable("lagging");
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(t());
        for (int n = 0; n < MESSAGES / 2; n++) {
            producer.setDeliveryMode(n % 3 == 0 ? DeliveryMode.PERSISTENT : DeliveryMode.NON_PERSISTENT);
            producer.send(numbered(session, n));
        }
        int[] next = {0, 1};
        for (int n = 0; n < MESSAGES / 2; n++) {
            int got = take(lagging).getIntProperty("n");
            int kind = got % 3 == 0 ? 0 : 1;
            equal(next[kind], got);
            next[kind] += kind == 0 ? 3 : got % 3 == 1 ? 1 : 2;
        }
    }

    @Test
    void a_subscription_that_ends_gives_back_what_waited_for_it() throws Exception {
        ActiveMQConnection gone = unstarted(url(""));
        gone.setClientID("gone." + name());
        gone.start();
        Session session = auto(gone);
        MessageConsumer ended = session.createDurableSubscriber(t(), "s");
        ended.close();
        MessageConsumer other = durable("other");
        publish(0, MESSAGES);
        session.unsubscribe("s");
        takes(other, 0, MESSAGES);
        nothing(session.createDurableSubscriber(t(), "s"));
    }
}
