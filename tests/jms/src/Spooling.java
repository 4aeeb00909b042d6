import java.util.Arrays;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQTopic;

/** What waits for a topic consumer and is more than memory may hold. */
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
            BytesMessage message = session.createBytesMessage();
            byte[] body = new byte[BYTES];
            Arrays.fill(body, (byte) n);
            message.writeBytes(body);
            message.setIntProperty("n", n);
            producer.send(message);
        }
        settle(session);
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
}
