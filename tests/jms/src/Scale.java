import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.MaxFrameSizeExceededException;

/** Much of everything: connections, destinations, consumers, messages, bytes. */
final class Scale extends JmsTest {
    private static final int FRAME_BYTES = 104_857_600;
    /** What a bytes message needs beside its body, generously. */
    private static final int AROUND_BODY = 1024;

    @Test(seconds = 180)
    void a_thousand_connections_at_the_same_time() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(16);
        List<Future<MessageConsumer>> opening = new ArrayList<>();
        for (int i = 0; i < 1000; i++) {
            int number = i;
            opening.add(pool.submit(() -> auto(connect()).createConsumer(queue("" + number))));
        }
        List<MessageConsumer> consumers = new ArrayList<>();
        for (Future<MessageConsumer> each : opening) {
            consumers.add(each.get());
        }
        pool.shutdown();
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(null);
        for (int i = 0; i < 1000; i++) {
            producer.send(queue("" + i), session.createTextMessage("" + i));
        }
        for (int i = 0; i < 1000; i++) {
            equal("" + i, takeText(consumers.get(i)));
        }
    }

    @Test(seconds = 120)
    void a_message_of_a_hundred_megabytes() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        byte[] body = new byte[FRAME_BYTES - AROUND_BODY];
        new java.util.Random(2).nextBytes(body);
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        session.createProducer(queue()).send(message, DeliveryMode.NON_PERSISTENT, 4, 0);
        BytesMessage got = (BytesMessage) consumer.receive(60_000);
        check(got != null, "it did not come");
        equal((long) body.length, got.getBodyLength());
        byte[] received = new byte[body.length];
        equal(body.length, got.readBytes(received));
        check(java.util.Arrays.equals(body, received), "other bytes came");
    }

    @Test
    void a_message_over_the_frame_limit_is_refused_and_the_connection_stays() throws Exception {
        Session session = auto(connect());
        tooLarge(session, FRAME_BYTES);
        Session small = auto(connectTo(Broker.shared().smallUrl()));
        tooLarge(small, 110_000);
        BytesMessage fits = small.createBytesMessage();
        fits.writeBytes(new byte[98_000]);
        small.createProducer(queue("fits")).send(fits);
        equal(98_000L, ((BytesMessage) take(small.createConsumer(queue("fits")))).getBodyLength());
    }

    private void tooLarge(Session session, int bytes) throws Exception {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(new byte[bytes]);
        MessageProducer producer = session.createProducer(queue());
        JMSException refusal = refused(JMSException.class, () -> producer.send(message));
        equal(MaxFrameSizeExceededException.class, refusal.getCause().getClass());
        contains("larger than max allowed", refusal.getMessage());
        send(session, queue(), "still here");
        MessageConsumer consumer = session.createConsumer(queue());
        equal("still here", takeText(consumer));
        consumer.close();
    }

    @Test(seconds = 120)
    void a_hundred_thousand_messages_through_one_queue() throws Exception {
        int count = 100_000;
        CountDownLatch all = new CountDownLatch(count);
        int[] next = new int[1];
        String[] wrong = new String[1];
        auto(connect()).createConsumer(queue()).setMessageListener(message -> {
            try {
                String text = ((javax.jms.TextMessage) message).getText();
                if (!text.equals("" + next[0]++) && wrong[0] == null) {
                    wrong[0] = text + " at " + (next[0] - 1);
                }
            } catch (JMSException e) {
                wrong[0] = "" + e;
            }
            all.countDown();
        });
        sendNumbers(auto(connect("jms.useAsyncSend=true")), queue(), count);
        check(all.await(60, TimeUnit.SECONDS), all.getCount() + " missing");
        equal(null, wrong[0]);
    }

    @Test
    void a_backlog_of_twenty_thousand_is_read_in_order() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 20_000);
        equal(numbers(0, 20_000), takeTexts(session.createConsumer(queue()), 20_000));
    }

    @Test
    void a_thousand_queues_and_topics_on_one_connection() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(null);
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            consumers.add(session.createConsumer(queue("" + i)));
            consumers.add(session.createConsumer(topic("" + i)));
            producer.send(queue("" + i), session.createTextMessage("q" + i));
            producer.send(topic("" + i), session.createTextMessage("t" + i));
        }
        for (int i = 0; i < 500; i++) {
            equal("q" + i, takeText(consumers.get(2 * i)));
            equal("t" + i, takeText(consumers.get(2 * i + 1)));
        }
    }

    @Test
    void five_hundred_consumers_of_one_topic_and_of_one_queue() throws Exception {
        List<MessageConsumer> ofTopic = new ArrayList<>();
        List<MessageConsumer> ofQueue = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            ActiveMQConnection connection = connect();
            for (int j = 0; j < 50; j++) {
                Session session = auto(connection);
                ofTopic.add(session.createConsumer(topic()));
                ofQueue.add(session.createConsumer(queue()));
            }
        }
        Session session = auto(connect());
        sendNumbers(session, topic(), 5);
        sendNumbers(session, queue(), 500);
        for (MessageConsumer consumer : ofTopic) {
            equal(numbers(0, 5), takeTexts(consumer, 5));
        }
        for (int i = 0; i < 500; i++) {
            equal("" + i, takeText(ofQueue.get(i)));
        }
    }
}
